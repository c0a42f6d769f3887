import math

import numpy as np
import pytest
from scipy.stats import ttest_1samp, ttest_ind

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


@pytest.mark.parametrize("tasks", [[[1.0, 1.1, 1.2, 1.3]], [[0.01, 0.02], [0.03], [-0.02], [0.01]]])
def test_too_few_pairs_have_no_interval(tasks):
    """Four of them, or a task with a single one, which shows nothing of how much its seeds vary."""
    found = compare(tasks)
    assert found.verdict == "too few to tell"
    assert math.isnan(found.low)
    assert math.isnan(found.p)


def test_without_pairs_nothing_is_known():
    found = compare([[], []])
    assert (found.pairs, found.verdict) == (0, "too few to tell")
    assert math.isnan(found.mean)


@pytest.mark.parametrize("comparisons", [1, 8])
@pytest.mark.parametrize("seeds", [(5,), (30,), (2, 2, 2), (1,) * 5, (5, 5, 5)])
def test_without_an_effect_it_is_seldom_wrong(seeds, comparisons):
    """As often as it promises, within four standard errors of 300 draws."""
    random = np.random.default_rng(0)
    drawn = ([random.normal(size=each) for each in seeds] for _ in range(300))
    wrong = np.mean([compare(each, comparisons).verdict != "no evidence" for each in drawn])
    level = 0.05 / comparisons
    assert wrong <= level + 4 * math.sqrt(level * (1 - level) / 300)


def test_the_interval_is_students_for_few_pairs_and_the_bootstraps_for_many():
    few, many = draw(0, 5), draw(0, 2000)
    student = ttest_1samp(few, 0).confidence_interval(0.95)
    assert (compare([few]).low, compare([few]).high) == pytest.approx((student.low, student.high))
    low, high = np.quantile(resampled_means([many]), (0.025, 0.975))
    assert (compare([many]).low, compare([many]).high) == pytest.approx((low, high), abs=2e-3)


def test_five_of_one_sign_are_no_proof_among_twenty_comparisons():
    assert compare([[0.001, 0.02, 0.05, 0.01, 0.03]], 20).verdict == "no evidence"


@pytest.mark.parametrize(("pairs", "verdict"), [(5, "no evidence"), (200, "helped")])
def test_pairs_that_do_not_vary_are_judged_by_their_number(pairs, verdict):
    assert compare([[0.1] * pairs], 50).verdict == verdict


def test_many_comparisons_widen_the_interval():
    one, twenty = (compare([draw(0.5, 30)], count) for count in (1, 20))
    assert twenty.low < one.low < one.high < twenty.high
    assert twenty.confidence == pytest.approx(0.9975)


def test_few_tasks_are_fixed_and_many_are_drawn():
    """Tasks whose means differ widen the interval only where other tasks could have been met."""
    spread = [np.full(4, float(task)) for task in range(-2, 3)]
    assert np.ptp(resampled_means(spread[:4])) == 0
    assert np.ptp(resampled_means(spread)) > 1


def test_p_is_students():
    values = draw(0.25, 12)
    assert compare([values]).p == pytest.approx(ttest_1samp(values, 0).pvalue)


def test_p_of_many_tasks_is_of_their_means():
    tasks = [draw(0.5, 4, seed) for seed in range(6)]
    expected = ttest_1samp([each.mean() for each in tasks], 0).pvalue
    assert compare(tasks).p == pytest.approx(expected)


def test_p_of_two_tasks_is_welchs():
    """The mean of two tasks' means is half the difference of one and minus the other."""
    one, other = draw(0.5, 4), draw(0.1, 7, 1)
    expected = ttest_ind(one, -other, equal_var=False).pvalue
    assert compare([one, other]).p == pytest.approx(expected)


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
