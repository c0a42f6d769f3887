"""The difference of two methods on the same tasks and seeds: interval, effect size and verdict."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import nan
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, permutation_test
from scipy.stats import t as student

RESAMPLES = 10_000
FEWEST_PAIRS = 5
"""With fewer pairs a bootstrap says too little of how much they vary."""
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
        low, high: bounds of its interval, by the bootstrap; NaN with fewer than `FEWEST_PAIRS` pairs.
        confidence: of the interval.
        wins: share of pairs in which the method is better, ties counting half: the probability of
            superiority, 0.5 where there is no effect.
        standardized: the mean over the standard deviation of the pairs' differences; NaN if they do not vary.
        p: of a sign-flip test that the differences are symmetric around 0; NaN without pairs.
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
        if self.pairs < FEWEST_PAIRS:
            return "too few to tell"
        if self.low > 0:
            return "helped"
        return "hurt" if self.high < 0 else "no evidence"


def compare(differences: Iterable[Sequence[float]], comparisons: int = 1) -> Difference:
    """Judge a method by its differences from the baseline.

    The interval is a percentile bootstrap's, widened for few seeds as Hesterberg (2015, "What teachers should
    know about the bootstrap", section 5.3) does, at the confidence that keeps 95 % over all comparisons
    (Bonferroni). Seeds are drawn within tasks; tasks are drawn as well where there are `FEWEST_TASKS`.

    Args:
        differences: for each task, those of its pairs.
        comparisons: how many are made side by side.
    """
    tasks = [np.asarray(values, dtype=np.float64) for values in differences if len(values)]
    confidence = 1 - 0.05 / max(1, comparisons)
    if not tasks:
        return Difference(0, 0, nan, nan, nan, confidence, nan, nan, nan)
    every = np.concatenate(tasks)
    low, high = _interval(tasks, confidence) if len(every) >= FEWEST_PAIRS else (nan, nan)
    deviation = float(every.std(ddof=1)) if len(every) > 1 else 0.0
    return Difference(
        pairs=len(every),
        tasks=len(tasks),
        mean=float(np.mean([each.mean() for each in tasks])),
        low=low,
        high=high,
        confidence=confidence,
        wins=float(((every > 0) + (every == 0) / 2).mean()),
        standardized=float(every.mean()) / deviation if deviation > 0 else nan,
        p=_sign_flip(every),
    )


def _interval(tasks: Sequence[Floats], confidence: float) -> tuple[float, float]:
    means = resampled_means(tasks)
    share = _expanded((1 - confidence) / 2, len(tasks) if _draws_tasks(tasks) else min(map(len, tasks)))
    low, high = np.quantile(means, (share, 1 - share))
    return float(low), float(high)


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


def _expanded(share: float, n: int) -> float:
    """The quantile that makes up for the bootstrap's spread, which is too small by √((n − 1)/n), and for
    normal instead of Student's quantiles.
    """
    if n < 2:
        return 0.0
    return float(norm.cdf(math.sqrt(n / (n - 1)) * student.ppf(share, n - 1)))


def _sign_flip(values: Floats) -> float:
    if not values.any():
        return 1.0
    # All sign patterns are tried while there are no more than the resamples.
    found = permutation_test(
        (values,),
        lambda sample, axis=-1: sample.mean(axis=axis),
        permutation_type="samples",
        n_resamples=RESAMPLES - 1,
        vectorized=True,
        rng=np.random.default_rng(0),
    )
    return float(found.pvalue)


def holm(p: Sequence[float]) -> list[float]:
    """p-values that keep the chance of any wrong rejection at the level (Holm 1979), in their order; NaN
    stays NaN and does not count.
    """
    known = [index for index, value in enumerate(p) if not math.isnan(value)]
    adjusted, largest = list(p), 0.0
    for rank, index in enumerate(sorted(known, key=lambda each: p[each])):
        largest = max(largest, min(1.0, (len(known) - rank) * p[index]))
        adjusted[index] = largest
    return adjusted
