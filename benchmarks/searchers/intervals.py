"""Bootstrap intervals for means over tables of means over seeds."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from benchmarks.searchers.runs import Regrets

RESAMPLES = 4_000
SEED = 0

Floats = npt.NDArray[np.float64]


def mean(regrets: Regrets) -> float:
    """The mean over tables of each table's mean over seeds."""
    return float(np.mean([each.mean() for each in regrets]))


def interval(regrets: Regrets, *, tables: bool) -> tuple[float, float]:
    """The 95 % percentile interval of `mean`.

    Args:
        regrets: of each table, by seed.
        tables: whether tables are drawn again, too, as for a claim about other tables; else seeds within the
            tables as they are.
    """
    rng = np.random.default_rng(SEED)
    means = _resampled(rng, regrets)
    if tables:
        means = np.take_along_axis(means, _drawn(rng, len(regrets)), axis=1)
    low, high = np.percentile(means.mean(axis=1), (2.5, 97.5))
    return float(low), float(high)


def ranks(regrets: Sequence[Regrets]) -> list[tuple[float, float, float]]:
    """For each contestant the mean over tables of its rank by mean regret, with a 95 % interval (seeds and
    tables drawn again); 1 is best, equal ones share.
    """
    points = rankdata([[each.mean() for each in one] for one in regrets], axis=0).mean(axis=1)
    rng = np.random.default_rng(SEED)
    means = np.array([_resampled(rng, one) for one in regrets])
    ranked = rankdata(means, axis=0)
    drawn = np.broadcast_to(_drawn(rng, means.shape[2]), means.shape)
    resampled = np.take_along_axis(ranked, drawn, axis=2).mean(axis=2)
    bounds = np.percentile(resampled, (2.5, 97.5), axis=1).T
    return [(float(point), *map(float, pair)) for point, pair in zip(points, bounds, strict=True)]


def _resampled(rng: np.random.Generator, regrets: Regrets) -> Floats:
    """Means over seeds drawn again, shape (RESAMPLES, tables)."""
    drawn = [each[rng.integers(len(each), size=(RESAMPLES, len(each)))].mean(axis=1) for each in regrets]
    return np.stack(drawn, axis=1)


def _drawn(rng: np.random.Generator, count: int) -> npt.NDArray[np.int64]:
    return rng.integers(count, size=(RESAMPLES, count))
