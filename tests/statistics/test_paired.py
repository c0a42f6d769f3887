import math

import numpy as np
import pytest
from scipy.stats import wilcoxon

from hpo_gn.statistics.paired import compare, holm, resampled_means


def draw(mean, n, seed=0):
    return np.random.default_rng(seed).normal(mean, 1, n)


def test_mean_is_of_the_tasks_means_however_many_seeds_they_have():
    found = compare([[1.0] * 9, [3.0]])
    assert (found.mean, found.pairs, found.tasks) == (2.0, 10, 2)


@pytest.mark.parametrize(("mean", "verdict"), [(1.0, "helped"), (-1.0, "hurt"), (0.0, "no evidence")])
def test_the_verdict_is_the_intervals(mean, verdict):
    values = draw(0, 50)
    assert compare([values - values.mean() + mean]).verdict == verdict


def test_few_pairs_have_no_interval():
    found = compare([[1.0, 1.1, 1.2, 1.3]])
    assert found.verdict == "too few to tell"
    assert math.isnan(found.low)


def test_without_pairs_nothing_is_known():
    found = compare([[], []])
    assert (found.pairs, found.verdict) == (0, "too few to tell")
    assert math.isnan(found.mean)


def test_the_interval_covers_the_mean_as_often_as_it_says():
    covered = [
        (found := compare([np.random.default_rng(seed).exponential(1, 8) - 1])).low <= 0 <= found.high
        for seed in range(200)
    ]
    # Of eight draws from a skewed distribution; Student's interval covers 90 % of the time here as well.
    assert 0.86 <= np.mean(covered) <= 0.97


def test_many_comparisons_widen_the_interval():
    one, twenty = (compare([draw(0.5, 30)], count) for count in (1, 20))
    assert twenty.low < one.low < one.high < twenty.high
    assert twenty.confidence == pytest.approx(0.9975)


def test_few_tasks_are_fixed_and_many_are_drawn():
    """Tasks whose means differ widen the interval only where other tasks could have been met."""
    spread = [np.full(4, float(task)) for task in range(-2, 3)]
    assert np.ptp(resampled_means(spread[:4])) == 0
    assert np.ptp(resampled_means(spread)) > 1


def test_p_is_the_share_of_sign_patterns_that_are_as_far_from_zero():
    values = [0.4, 1.3, -0.2, 0.7, 2.1, 0.9]
    patterns = (np.array(np.meshgrid(*[[-1, 1]] * 6)).reshape(6, -1).T * values).mean(axis=1)
    expected = np.mean(np.abs(patterns) >= np.mean(values) - 1e-12)
    assert compare([values]).p == pytest.approx(expected)


def test_p_is_near_wilcoxons_for_many_pairs():
    values = draw(0.25, 100)
    assert compare([values]).p == pytest.approx(wilcoxon(values).pvalue, abs=0.02)


def test_no_difference_is_no_evidence():
    found = compare([[0.0] * 6])
    assert (found.verdict, found.p, found.wins) == ("no evidence", 1.0, 0.5)
    assert math.isnan(found.standardized)


def test_wins_count_ties_half():
    assert compare([[1.0, 2.0, 0.0, -1.0]]).wins == 0.625


@pytest.mark.parametrize(
    ("p", "adjusted"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.5, 0.6], [1.0, 1.0]),
        ([0.01, math.nan], [0.01, math.nan]),
        ([], []),
    ],
)
def test_holm(p, adjusted):
    assert holm(p) == pytest.approx(adjusted, nan_ok=True)
