"""Means over pools, the settings that are worth having, and what they save within a bound."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import numpy.typing as npt

from benchmarks.give_up.judged import Judged
from benchmarks.give_up.rivals import OURS, REFERENCES, Setting

Sweep = Mapping[Setting, Sequence[Judged]]
"""The figures of each setting, a pool each, the same pools for all."""
RESAMPLES = 1000
ALL_RIVALS, ALL_OURS = "all rivals", "all of ours"


def by_family(swept: Sweep) -> dict[str, Sweep]:
    """The settings of each family, and after them those of all rivals and of all of ours."""
    groups: dict[str, dict[Setting, Sequence[Judged]]] = {}
    used = {setting: judged for setting, judged in swept.items() if setting.family not in REFERENCES}
    for name_of in (_family, _side):
        for setting, judged in used.items():
            groups.setdefault(name_of(setting), {})[setting] = judged
    return dict(groups)


def _family(setting: Setting) -> str:
    return setting.family


def _side(setting: Setting) -> str:
    return ALL_OURS if setting.family.startswith(OURS) else ALL_RIVALS


@dataclass(frozen=True)
class Mean:
    """A mean over pools with its 95 % interval; NaN without any value."""

    value: float
    low: float
    high: float


def mean(values: Iterable[float]) -> Mean:
    """The mean of those that are numbers, its interval from a bootstrap over them.

    Pools share runs: the interval is of the orders and draws, the table taken as given.
    """
    known = np.array([value for value in values if not math.isnan(value)])
    if not len(known):
        return Mean(math.nan, math.nan, math.nan)
    means = known[_resamples(len(known))].mean(1)
    low, high = np.quantile(means, (0.025, 0.975))
    return Mean(float(known.mean()), float(low), float(high))


def _resamples(count: int) -> npt.NDArray[np.int64]:
    return np.random.default_rng(0).integers(count, size=(RESAMPLES, count))


def front(swept: Sweep, figure: str) -> list[Setting]:
    """Settings that no other one beats in savings without a larger mean of a figure, the mildest first."""
    ordered = sorted(swept, key=lambda each: (-average(swept[each], "saved"), average(swept[each], figure)))
    best, least = [], math.inf
    for setting in ordered:
        if average(swept[setting], figure) < least:
            best.append(setting)
            least = average(swept[setting], figure)
    return best[::-1]


@dataclass(frozen=True)
class Within:
    """Savings within a bound for the mean of a figure, chosen on some pools and judged on the others.

    Args:
        saved: mean share of the epochs.
        figure: what the figure turned out to be.
        settings: those chosen, one a half; None where none was within the bound.
    """

    saved: float
    figure: float
    settings: tuple[Setting | None, Setting | None]


def most_saved_within(swept: Sweep, figure: str, bound: float) -> Within:
    """The most that is saved while the mean of a figure is within a bound.

    The setting is chosen on the even pools and judged on the odd ones, and the other way round. Where none is
    within the bound, nothing is given up.
    """
    saved, figures, chosen = [], [], []
    for half in (0, 1):
        some = {setting: judged[half::2] for setting, judged in swept.items()}
        within = [setting for setting, judged in some.items() if average(judged, figure) <= bound]
        best = max(within, key=lambda setting: average(some[setting], "saved"), default=None)
        others = swept[best][1 - half :: 2] if best else []
        saved.append(average(others, "saved"))
        figures.append(average(others, figure))
        chosen.append(best)
    return Within(fmean(saved), fmean(figures), (chosen[0], chosen[1]))


def average(judged: Sequence[Judged], figure: str) -> float:
    """The mean of a figure over those pools that have it; 0 if none has, as where nothing is given up."""
    known = [value for each in judged if not math.isnan(value := getattr(each, figure))]
    return fmean(known) if known else 0.0
