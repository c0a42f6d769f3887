"""How well a recorded run is foretold by its neighbours: each run left out in turn."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from statistics import mean

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr

from hpo_gn.recorded.axis_weights import Array, axis_weights
from hpo_gn.recorded.table import RecordedRun, RecordedTable

FEWEST = 10
"""Runs below which nothing is said."""
_DRAWS = 200
_TREES = 200

TARGETS: Mapping[str, Callable[[RecordedRun], float]] = {
    "validation loss": lambda run: run.val_loss,
    "AGN": lambda run: run.agn,
    "test accuracy": lambda run: mean(run.test_accuracy) if run.test_accuracy else math.nan,
}
"""What is foretold of a run that was trained to the end; NaN where the table does not have it."""


@dataclass(frozen=True)
class Foretold:
    """How well one way of foretelling does on one target.

    Args:
        target: a name of `TARGETS`.
        by: "nearest", the nearest run as a replay finds it, with weights from that half of the table that the
            run is not in; "nearest, unweighted"; "forest", scikit-learn's random forest on the unit cube,
            each run foretold by the trees that did not see it; or "random", any other run: the mean of many
            draws.
        runs: that were left out in turn.
        spearman: of what was foretold with what was measured.
        better_half: the same among the better half of the runs by the target, where searches decide.
        error: the median absolute difference.
    """

    target: str
    by: str
    runs: int
    spearman: float
    better_half: float
    error: float


def leave_one_out(table: RecordedTable) -> list[Foretold]:
    """Foretell each run of a table that was trained to the end from the others."""
    whole = [index for index, run in enumerate(table.runs) if run.completed]
    points = table.points[whole]
    ended = {name: np.array([read(table.runs[n]) for n in whole]) for name, read in TARGETS.items()}
    criteria = np.array([each for each in list(ended.values())[:2] if np.isfinite(each).all()])
    found: list[Foretold] = []
    for name, values in ended.items():
        known = np.isfinite(values)
        if known.sum() >= FEWEST:
            some = criteria.T[known] if criteria.size else np.empty((int(known.sum()), 0))
            best = -values[known] if name == "test accuracy" else values[known]
            for by, guesses in _ways(points[known], values[known], some):
                found.append(_foretold(name, by, guesses, values[known], best))
    return found


def _ways(points: Array, values: Array, criteria: Array) -> Iterator[tuple[str, list[Array]]]:
    yield "nearest", [values[_cross_fitted(points, criteria)]]
    yield "nearest, unweighted", [values[nearest(points, np.ones(points.shape[1]))]]
    yield "forest", [_forest(points, values)]
    random = np.random.default_rng(0)
    shifts = [random.integers(1, len(values), size=len(values)) for _ in range(_DRAWS)]
    yield "random", [values[(np.arange(len(values)) + shift) % len(values)] for shift in shifts]


def _foretold(target: str, by: str, guesses: list[Array], values: Array, costs: Array) -> Foretold:
    half = costs <= np.median(costs)
    return Foretold(
        target,
        by,
        runs=len(values),
        spearman=mean(_spearman(guess, values) for guess in guesses),
        better_half=mean(_spearman(guess[half], values[half]) for guess in guesses),
        error=mean(float(np.median(np.abs(guess - values))) for guess in guesses),
    )


def _spearman(one: Array, other: Array) -> float:
    """NaN where all of one are alike."""
    return math.nan if not np.ptp(one) or not np.ptp(other) else float(spearmanr(one, other).statistic)


def nearest(points: Array, weights: Array) -> npt.NDArray[np.intp]:
    """The index of each point's nearest other point, [n]; of equally near ones the first.

    Args:
        points: [n, dimensions].
        weights: of the dimensions in the squared distance.
    """
    squares = ((points[:, None] - points) ** 2) @ weights
    np.fill_diagonal(squares, np.inf)
    return np.asarray(squares.argmin(axis=1))


def _cross_fitted(points: Array, criteria: Array) -> npt.NDArray[np.intp]:
    """The nearest others, by weights that the left-out run did not help to find."""
    found = np.empty(len(points), dtype=np.intp)
    for half in (0, 1):
        others = slice(1 - half, None, 2)
        found[half::2] = nearest(points, axis_weights(points[others], criteria[others]))[half::2]
    return found


def _forest(points: Array, values: Array) -> Array:
    from sklearn.ensemble import RandomForestRegressor  # type: ignore[import-untyped]  # late: it takes a second

    forest = RandomForestRegressor(_TREES, oob_score=True, random_state=0)
    return np.asarray(forest.fit(points, values).oob_prediction_)
