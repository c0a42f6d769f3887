import numpy as np
import pytest

from benchmarks.searchers.intervals import interval, mean, ranks
from benchmarks.searchers.summary import verdict


def test_every_table_counts_the_same():
    assert mean([np.array([1.0, 3.0]), np.array([10.0])]) == 6


def test_the_interval_of_seeds_is_the_one_of_the_normal_distribution():
    values = np.random.default_rng(1).normal(size=400)
    low, high = interval([values], tables=False)
    half = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.01)


def test_tables_that_differ_widen_the_interval_only_where_they_are_drawn():
    regrets = [np.zeros(30), np.ones(30)]
    assert interval(regrets, tables=False) == (0.5, 0.5)
    assert interval(regrets, tables=True) == (0, 1)


def test_ranks_are_means_over_tables_and_ties_share():
    best, tied, last = [np.zeros(3), np.zeros(3)], [np.ones(3), np.zeros(3)], [np.ones(3), np.ones(3)]
    found = ranks([best, tied, last])
    assert [point for point, *_ in found] == [1.25, 2.0, 2.75]
    assert found[0][1:] == (1.0, 1.5)


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (-2, -1, "ours is better"),
        (-1, 1, "no difference shown"),
        (0, 0, "no difference shown"),
        (1, 2, "ours is worse"),
    ],
)
def test_the_verdict_is_the_intervals(low, high, words):
    assert verdict(low, high) == words
