"""The sum of two ranks, which needs no weight."""

from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import rankdata

from hpo_gn.history import History
from hpo_gn.objectives._reads_agn import Reading, ReadsLossAndAgn


@dataclass(frozen=True)
class RankSum(ReadsLossAndAgn):
    """The rank of the validation loss plus the rank of AGN among the finished trials, from 1; equal ones
    share the mean of their ranks.

    There is no α to choose: both count alike, whatever their scales.

    Args:
        agn: which AGN, as of `AgnTerm`.
        gated: let AGN count only once the model is well fitted (`FitGate`); the others rank last by AGN.

    Raises:
        ArgumentError: another way to read AGN, or a gate that is neither True nor False.
    """

    agn: Reading = "exact"
    gated: bool = False

    def among(self, histories: Sequence[History]) -> list[float]:
        """The sum of its two ranks for each history, in their order; lower is better."""
        if not histories:
            return []
        losses, agns = zip(*map(self.values, histories), strict=True)
        return [float(value) for value in rankdata(losses) + rankdata(agns)]
