"""The Pareto front of validation loss and AGN."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from hpo_gn.history import History
from hpo_gn.objectives._reads_agn import Reading, ReadsLossAndAgn

Point = tuple[float, float]

_LAST = 0.75
"""The fraction of a point with an infinite criterion."""


@dataclass(frozen=True)
class Pareto(ReadsLossAndAgn):
    """A trial's non-dominated front by validation loss and AGN, from 0, plus a fraction below 1 that orders
    the front, so that one configuration can be chosen and any searcher can work with it.

    Front 0 are the trials that no other is better than in one of the two and as good in the other; front 1
    those that only trials of front 0 are, and so on (Deb et al. 2002). The fraction is the distance to the
    front's ideal point, its smallest loss and its smallest AGN, with both scaled to [0, 1] over the front,
    halved: what balances the two comes first, the best of one alone later.

    Args:
        agn: which AGN, as of `AgnTerm`.
        gated: let AGN count only once the model is well fitted (`FitGate`); that of the others is worse than
            any.

    Raises:
        ArgumentError: another way to read AGN, or a gate that is neither True nor False.
    """

    agn: Reading = "exact"
    gated: bool = False

    def among(self, histories: Sequence[History]) -> list[float]:
        """Front and fraction of each history, in their order; lower is better."""
        points = [self.values(history) for history in histories]
        fronts: dict[int, list[Point]] = defaultdict(list)
        for point, front in _fronts(points).items():
            fronts[front].append(point)
        value = {
            point: front + fraction
            for front, members in fronts.items()
            for point, fraction in zip(members, _fractions(members), strict=True)
        }
        return [value[point] for point in points]


def _fronts(points: Iterable[Point]) -> dict[Point, int]:
    """The front of each point.

    In the order of rising loss, a front dominates a point if its smallest AGN so far is as small as the
    point's; and those smallest ones rise from front to front.
    """
    front_of: dict[Point, int] = {}
    smallest: list[float] = []
    for loss, agn in sorted(set(points)):
        front = bisect_right(smallest, agn)
        smallest[front : front + 1] = [agn]
        front_of[loss, agn] = front
    return front_of


def _fractions(front: Sequence[Point]) -> list[float]:
    """What orders a front: half the distance of each of its points to the ideal one, below 1/√2 since no
    point is the worst in both; a point that is infinite in one comes last.
    """
    points = np.array(front)
    finite = np.isfinite(points).all(axis=1)
    fractions = np.full(len(points), _LAST)
    if finite.any():
        low, high = points[finite].min(axis=0), points[finite].max(axis=0)
        scaled = (points[finite] - low) / np.where(high > low, high - low, 1.0)
        fractions[finite] = np.hypot(*scaled.T) / 2
    return [float(fraction) for fraction in fractions]
