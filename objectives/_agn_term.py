"""The term that AGN+Train and AGN+Val share."""

import math
from dataclasses import dataclass

from hpo_gn.errors import ArgumentError
from hpo_gn.history import History
from hpo_gn.objectives._reads_agn import Reading, ReadsAgn

UNFITTED = 1e9
"""Where the values of models that do not pass the gate begin, and those of all others end."""


@dataclass(frozen=True)
class AgnTerm(ReadsAgn):
    """α · AGN, with AGN = Σ_τ agn_τ over the epochs so far ("Can we use gradient norm…", sections 2.1 and
    4.1).

    Gated, a model that is not well fitted is worth a billion plus its loss: behind every fitted one, since
    those are worth a billion at most, and among its kind by loss alone.

    Args:
        alpha: the weight α of AGN, finite and not negative.
        normalized: divide AGN by the number of epochs so far, so that runs of different lengths compare, as
            under BOHB.
        agn: "exact", over the training split; "sampled", over 1,000 random samples of it, always the
            same ones; or "online", gathered in training, another quantity (`OnlineAGN`). With the last two,
            what is read off the training split besides is of 1,000 samples too.
        gated: let AGN count only once the model is well fitted (`FitGate`).

    Raises:
        ArgumentError: an alpha that is negative or not finite, another way to read AGN, or a gate that is
            neither True nor False.
    """

    alpha: float = 1e-4
    normalized: bool = False
    agn: Reading = "exact"
    gated: bool = False

    def __post_init__(self) -> None:
        number = isinstance(self.alpha, int | float) and not isinstance(self.alpha, bool)
        if not (number and math.isfinite(self.alpha) and self.alpha >= 0):
            raise ArgumentError("alpha", "a finite number, 0 or more", self.alpha)
        super().__post_init__()

    def with_agn(self, loss: float, history: History) -> float:
        """The loss plus α · AGN, or plus α · AGN / E; not finite where one of the two is not."""
        agn = self.agn_of(history)
        value = loss + self.alpha * (agn / len(history) if self.normalized else agn)
        if not self.gated or not math.isfinite(value):
            return value
        return min(value, UNFITTED) if self.counts(history) else UNFITTED + loss
