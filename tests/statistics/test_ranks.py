import math

import numpy as np
import pytest

from hpo_gn.statistics.ranks import critical_difference, rank


def test_the_highest_score_has_rank_one_and_ties_share():
    found = rank([[0.9, 0.8, 0.8], [0.7, 0.9, 0.1]])
    assert found.average.tolist() == [1.5, 1.75, 2.75]


def test_friedman_of_demsars_example():
    """Demšar (2006, table 6): four variants of C4.5 on 14 data sets; χ² of the average ranks 3.143, 2.000,
    2.893, 1.964 is 9.28 before ties are corrected for.
    """
    auc = [
        [0.763, 0.768, 0.771, 0.798],
        [0.599, 0.591, 0.590, 0.569],
        [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657],
        [0.882, 0.888, 0.886, 0.898],
        [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685],
        [0.583, 0.583, 0.563, 0.625],
        [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000],
        [0.940, 0.962, 0.965, 0.962],
        [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9751, 0.975],
        [0.957, 0.978, 0.946, 0.970],
    ]
    found = rank(auc)
    assert found.average == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    assert 0.01 < found.p < 0.03
    assert found.critical_difference == pytest.approx(1.25, abs=0.005)


@pytest.mark.parametrize(("methods", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)])
def test_nemenyis_critical_values_are_those_of_the_table(methods, q):
    """Demšar (2006), table 5a, for α = 0.05."""
    blocks = 20
    expected = q * math.sqrt(methods * (methods + 1) / (6 * blocks))
    assert critical_difference(methods, blocks) == pytest.approx(expected, rel=5e-4)


def test_all_ties_are_no_difference():
    assert rank(np.ones((4, 3))).p == 1.0


@pytest.mark.parametrize("shape", [(5, 2), (1, 4), (0, 3)])
def test_too_few_methods_or_blocks_have_no_test(shape):
    assert math.isnan(rank(np.zeros(shape)).p)
