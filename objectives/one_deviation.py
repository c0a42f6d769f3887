"""The smallest AGN among the losses that a change of seed could explain."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import rankdata

from hpo_gn.errors import ArgumentError
from hpo_gn.history import History
from hpo_gn.objectives._reads_agn import Reading, ReadsLossAndAgn

DEVIATION = 0.05
"""The standard deviation of the validation loss over seeds, as a share of the loss, where none is given: that
of the two best configurations of LeNet-5 on a fifth of Fashion-MNIST, 0.037 and 0.057 with 6 seeds each
(`benchmarks.compare.seed_deviation`).
"""


@dataclass(frozen=True)
class OneDeviation(ReadsLossAndAgn):
    """A trial's place in this order: first, by AGN, the trials whose validation loss is within one deviation
    of the best, which another seed could have turned round; then the others by validation loss.

    Places count from 0, and equal trials share the mean of theirs.

    Args:
        deviation: of the validation loss over seeds, as a share of the best loss, finite and not negative.
            With 0 the trials of the best loss alone are compared by AGN.
        agn: which AGN, as of `AgnTerm`.
        gated: let AGN count only once the model is well fitted (`FitGate`); the others come last of those
            within one deviation.

    Raises:
        ArgumentError: a deviation that is negative or not finite, another way to read AGN, or a gate that is
            neither True nor False.
    """

    deviation: float = DEVIATION
    agn: Reading = "exact"
    gated: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.deviation) and self.deviation >= 0):
            raise ArgumentError("deviation", "a finite number, 0 or more", self.deviation)
        super().__post_init__()

    def among(self, histories: Sequence[History]) -> list[float]:
        """The place of each history, in their order; lower is better."""
        pairs = [self.values(history) for history in histories]
        best = min((loss for loss, _ in pairs), default=math.inf)
        farthest = best + self.deviation * abs(best)
        keys = [(loss > farthest, loss if loss > farthest else agn) for loss, agn in pairs]
        order = {key: place for place, key in enumerate(sorted(set(keys)))}
        return [float(rank) - 1 for rank in rankdata([order[key] for key in keys])] if keys else []
