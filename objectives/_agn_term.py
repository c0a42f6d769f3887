"""The term that AGN+Train and AGN+Val share."""

import math
from dataclasses import dataclass
from typing import Literal

from hpo_gn.errors import ArgumentError
from hpo_gn.history import History
from hpo_gn.measures import AGN, OnlineAGN

_SAMPLES = 1000


@dataclass(frozen=True)
class AgnTerm:
    """α · AGN, with AGN = Σ_τ agn_τ over the epochs so far ("Can we use gradient norm…", sections 2.1 and
    4.1).

    Args:
        alpha: the weight α of AGN, finite and not negative.
        normalized: divide AGN by the number of epochs so far, so that runs of different lengths compare, as
            under BOHB.
        agn: "exact", over the training split; "sampled", over 1,000 random samples of it, always the
            same ones; or "online", gathered in training, another quantity (`OnlineAGN`). With the last two,
            what is read off the training split besides is of 1,000 samples too.

    Raises:
        ArgumentError: an alpha that is negative or not finite, or another way to read AGN.
    """

    alpha: float = 1e-4
    normalized: bool = False
    agn: Literal["exact", "sampled", "online"] = "exact"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.alpha) and self.alpha >= 0):
            raise ArgumentError("alpha", "a finite number, 0 or more", self.alpha)
        if self.agn not in ("exact", "sampled", "online"):
            raise ArgumentError("agn", "'exact', 'sampled' or 'online'", self.agn)

    @property
    def samples(self) -> int | None:
        """Of the training split that are measured; None for all."""
        return None if self.agn == "exact" else _SAMPLES

    @property
    def agn_measure(self) -> AGN | OnlineAGN:
        """The measure that AGN is the sum of."""
        return OnlineAGN() if self.agn == "online" else AGN(samples=self.samples)

    def agn_term(self, history: History) -> float:
        """α · AGN, or α · AGN / E."""
        agn = sum(history.column("agn_online" if self.agn == "online" else "agn"))
        return self.alpha * (agn / len(history) if self.normalized else agn)
