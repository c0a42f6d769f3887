import numpy as np
import pytest

from hpo_gn.errors import ArgumentError, DataError
from hpo_gn.recorded.nearest import NearestRuns
from tests.recorded.runs import a_run, a_table


def placed(*places):
    """Runs at these learning rates and batch sizes."""
    runs = (
        a_run(10 + n, *[1.0] * 4, learning_rate=rate, batch_size=size)
        for n, (rate, size) in enumerate(places)
    )
    return NearestRuns(a_table(*runs))


def taken(nearest, *places):
    return [nearest.take({"learning_rate": rate, "batch_size": size}).number for rate, size in places]


def test_near_is_on_the_axes_of_the_unit_cube():
    nearest = placed((1e-4, 1), (1e-1, 1), (1e-1, 64))
    # 1e-2 is nearer to 1e-1 than to 1e-4 in logarithms alone.
    assert taken(nearest, (1e-2, 1), (2e-1, 40)) == [11, 12]


def test_a_run_is_given_out_once_and_then_the_next_nearest():
    nearest = placed((1e-3, 32), (1e-2, 32), (1e-1, 32))
    assert taken(nearest, *[(1e-3, 32)] * 3) == [10, 11, 12]
    with pytest.raises(DataError, match="all 3 recorded runs are used up"):
        taken(nearest, (1e-3, 32))


def test_of_equally_near_runs_it_is_the_earlier_one():
    assert taken(placed((1e-1, 32), (1e-3, 32), (1e-3, 32)), *[(1e-2, 32)] * 3) == [10, 11, 12]


def test_a_run_stands_for_itself():
    random = np.random.default_rng(0)
    places = [(10 ** random.uniform(-4, 0), int(random.integers(1, 65))) for _ in range(50)]
    order = random.permutation(50)
    assert taken(placed(*places), *(places[index] for index in order)) == [10 + index for index in order]


def test_what_is_outside_the_space_is_refused():
    with pytest.raises(ArgumentError, match="batch_size must be in"):
        taken(placed((1e-3, 32)), (1e-3, 65))
