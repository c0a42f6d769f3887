"""The difference of two methods on the same tasks and seeds: interval, effect size and verdict."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isnan, nan
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

RESAMPLES = 10_000
FEWEST_PAIRS = 5
"""With fewer pairs too little is known of how much they vary."""
FEWEST_TASKS = 5
"""With fewer tasks they are taken as they are, and what is said holds for them alone."""

Floats = NDArray[np.float64]
Verdict = Literal["helped", "no evidence", "hurt", "too few to tell"]


@dataclass(frozen=True)
class Difference:
    """A method's scores less the baseline's, where higher is better, over pairs of the same task and seed.

    Args:
        pairs: how many.
        tasks: how many tasks they are of.
        mean: of the tasks' mean differences.
        low, high: bounds of its interval; NaN where there are too few pairs for one.
        confidence: of the interval.
        wins: share of pairs in which the method is better, ties counting half: the probability of
            superiority, 0.5 where there is no effect.
        standardized: the mean over the standard deviation of the pairs' differences; NaN if they do not vary.
        p: of Student's test that there is no difference; NaN where there is no interval.
    """

    pairs: int
    tasks: int
    mean: float
    low: float
    high: float
    confidence: float
    wins: float
    standardized: float
    p: float

    @property
    def verdict(self) -> Verdict:
        """What the interval says."""
        if isnan(self.low):
            return "too few to tell"
        if self.low > 0:
            return "helped"
        return "hurt" if self.high < 0 else "no evidence"


def compare(differences: Iterable[Sequence[float]], comparisons: int = 1) -> Difference:
    """Judge a method by its differences from the baseline.

    The interval holds both the percentile bootstrap's and Student's, at the confidence that keeps 95 % over
    all comparisons (Bonferroni): the bootstrap knows no more of the tails than the pairs show, Student's
    quantiles do where pairs are few. Seeds are drawn within tasks. Where there are `FEWEST_TASKS`, tasks are
    drawn as well and their means are the units; fewer are as they are, and each needs two seeds.

    Args:
        differences: for each task, those of its pairs.
        comparisons: how many are made side by side.
    """
    tasks = [np.asarray(values, dtype=np.float64) for values in differences if len(values)]
    confidence = 1 - 0.05 / max(1, comparisons)
    if not tasks:
        return Difference(0, 0, nan, nan, nan, confidence, nan, nan, nan)
    every = np.concatenate(tasks)
    low, high, p = _judged(tasks, confidence) if _are_enough(tasks) else (nan, nan, nan)
    deviation = float(every.std(ddof=1)) if len(every) > 1 else 0.0
    return Difference(
        pairs=len(every),
        tasks=len(tasks),
        mean=_mean(tasks),
        low=low,
        high=high,
        confidence=confidence,
        wins=float(((every > 0) + (every == 0) / 2).mean()),
        standardized=float(every.mean()) / deviation if deviation > 0 else nan,
        p=p,
    )


def _mean(tasks: Sequence[Floats]) -> float:
    return float(np.mean([each.mean() for each in tasks]))


def _are_enough(tasks: Sequence[Floats]) -> bool:
    return sum(map(len, tasks)) >= FEWEST_PAIRS and (
        _draws_tasks(tasks) or all(len(values) > 1 for values in tasks)
    )


def _judged(tasks: Sequence[Floats], confidence: float) -> tuple[float, float, float]:
    """The interval's bounds, and p."""
    mean, (error, freedom) = _mean(tasks), _standard_error(tasks)
    if error <= _ROUNDING * abs(mean):
        return _judged_alike(mean, len(tasks) if _draws_tasks(tasks) else sum(map(len, tasks)), confidence)
    half = float(student.isf((1 - confidence) / 2, freedom)) * error
    low, high = np.quantile(resampled_means(tasks), ((1 - confidence) / 2, (1 + confidence) / 2))
    p = 2 * float(student.sf(abs(mean) / error, freedom))
    return min(float(low), mean - half), max(float(high), mean + half), p


_ROUNDING = 1e-12
"""A standard error that is as small a share of the mean is none."""


def _judged_alike(mean: float, units: int, confidence: float) -> tuple[float, float, float]:
    """Of units that do not vary, which only the sign test can judge: the interval reaches to 0 unless that
    excludes it.
    """
    p = 1.0 if mean == 0 else 2.0 ** (1 - units)
    if p > 1 - confidence:
        return min(0.0, mean), max(0.0, mean), p
    return mean, mean, p


def _standard_error(tasks: Sequence[Floats]) -> tuple[float, float]:
    """Of the mean of the tasks' means, and its degrees of freedom (Welch and Satterthwaite's for tasks that
    are as they are).
    """
    if _draws_tasks(tasks):
        means = np.array([each.mean() for each in tasks])
        return float(means.std(ddof=1)) / math.sqrt(len(means)), len(means) - 1.0
    parts = np.array([each.var(ddof=1) / len(each) for each in tasks])
    weights = np.array([1 / (len(each) - 1) for each in tasks])
    total = float(parts.sum())
    return math.sqrt(total) / len(tasks), total**2 / float((parts**2 * weights).sum()) if total else nan


def resampled_means(tasks: Sequence[Floats], resamples: int = RESAMPLES) -> Floats:
    """Means of the tasks' means under the bootstrap, [resamples].

    Args:
        tasks: one value a seed, by task.
        resamples: how many.
    """
    random = np.random.default_rng(0)
    # [resamples, tasks]: each task's mean over seeds drawn anew.
    means = np.stack(
        [each[random.integers(len(each), size=(resamples, len(each)))].mean(axis=1) for each in tasks],
        axis=1,
    )
    if _draws_tasks(tasks):
        drawn = random.integers(len(tasks), size=(resamples, len(tasks)))
        means = np.take_along_axis(means, drawn, axis=1)
    return np.asarray(means.mean(axis=1))


def _draws_tasks(tasks: Sequence[Floats]) -> bool:
    return len(tasks) >= FEWEST_TASKS


def holm(p: Sequence[float]) -> list[float]:
    """p-values that keep the chance of any wrong rejection at the level (Holm 1979), in their order; NaN
    stays NaN and does not count.
    """
    known = [index for index, value in enumerate(p) if not isnan(value)]
    adjusted, largest = list(p), 0.0
    for rank, index in enumerate(sorted(known, key=lambda each: p[each])):
        largest = max(largest, min(1.0, (len(known) - rank) * p[index]))
        adjusted[index] = largest
    return adjusted
