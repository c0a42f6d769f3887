"""The term that AGN+Train and AGN+Val share."""

import math
from dataclasses import dataclass

from hpo_gn.errors import ArgumentError
from hpo_gn.history import History


@dataclass(frozen=True)
class AgnTerm:
    """α · AGN, with AGN = Σ_τ agn_τ over the epochs so far ("Can we use gradient norm…", sections 2.1 and
    4.1).

    Args:
        alpha: the weight α of AGN, finite and not negative.
        normalized: divide AGN by the number of epochs so far, so that runs of different lengths compare, as
            under BOHB.

    Raises:
        ArgumentError: an alpha that is negative or not finite.
    """

    alpha: float = 1e-4
    normalized: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.alpha) and self.alpha >= 0):
            raise ArgumentError("alpha", "a finite number, 0 or more", self.alpha)

    def agn_term(self, history: History) -> float:
        """α · AGN, or α · AGN / E."""
        agn = sum(history.column("agn"))
        return self.alpha * (agn / len(history) if self.normalized else agn)
