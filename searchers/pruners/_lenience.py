"""How many of the best runs a run must be worse than, so that few are given up wrongly."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

from hpo_gn.searchers.pruners._past import Past

CONFIDENCE = 0.95

Array = npt.NDArray[np.float64]
Truths = npt.NDArray[np.bool_]


def least_lenient(
    pasts: Sequence[Past], top: int, level: float, epochs: Sequence[int], patience: int = 1
) -> int | None:
    """The smallest number of best runs, among some from `top` on, for which the share of given-up runs that
    end among the `top` is at most `level`, by an exact one-sided bound of 95 %; None if there is none.

    Each run is judged by the others, as if it came after them. Those that were given up are missing, except
    the shadows; so among the runs that a less lenient rule would have given up, those that ended well weigh
    more than they should: the bound errs on the safe side.

    Args:
        pasts: the runs that were trained to the end.
        top: ranks, from 1 on.
        level: between 0 and 1.
        epochs: those at which the rule decides, rising.
        patience: how many of them in a row a run must be worse.
    """
    if len(pasts) <= top:
        return None
    runs = sorted(pasts, key=lambda past: past.cost)
    costs = np.array([past.cost for past in runs])
    signals = np.array([[past.signals.get(epoch, np.nan) for epoch in epochs] for past in runs])
    standing = np.array([[past.standing.get(epoch, np.inf) for epoch in epochs] for past in runs])
    # Runs of the same cost share the best rank.
    among_top = np.searchsorted(costs, costs) < top
    # The cost to reach is the others' `top`-th best; who has it already is not given up.
    behind = standing > np.where(np.arange(len(runs)) < top, costs[top], costs[top - 1])[:, None]
    for best in _sizes(top, len(runs)):
        given_up = (behind & _in_a_row(signals > _bars(signals, best, top), patience)).any(axis=1)
        wrong, count = int((given_up & among_top).sum()), int(given_up.sum())
        if count and binomtest(wrong, count, alternative="less").proportion_ci(CONFIDENCE).high <= level:
            return best
    return None


def _sizes(top: int, count: int) -> list[int]:
    """`top`, and a third more each time."""
    sizes = [top]
    while sizes[-1] < count - 1:
        sizes.append(max(sizes[-1] + 1, sizes[-1] * 4 // 3))
    return [size for size in sizes if size < count]


def _in_a_row(worse: Truths, patience: int) -> Truths:
    """Where a row was true at an epoch and at the `patience` − 1 before it, [n, E]."""
    held = worse.copy()
    for back in range(1, patience):
        held[:, back:] &= worse[:, :-back]
        held[:, :back] = False
    return held


def _bars(signals: Array, best: int, top: int) -> Array:
    """What each run's signal must not exceed at each epoch, [n, E]: the worst signal there of the `best`
    others that have one; infinite where fewer than `top` have one.

    Args:
        signals: NaN where there is none, the best run's first, [n, E].
        best, top: numbers of runs.
    """
    bars = np.full(signals.shape, np.inf)
    for signal, bar in zip(signals.T, bars.T, strict=True):
        there = np.flatnonzero(~np.isnan(signal))
        others = min(best, len(there) - 1)
        if others < top:
            continue
        # A run among the first has one more of them to be compared with, in its own place.
        first = signal[there[: others + 1]]
        bar[there] = first[:-1].max()
        bar[there[: others + 1]] = first.max()
        bar[there[first.argmax()]] = np.partition(first, -2)[-2]
    return bars
