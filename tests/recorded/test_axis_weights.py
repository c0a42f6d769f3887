import numpy as np
import pytest

from hpo_gn.recorded.axis_weights import FEWEST, axis_weights
from hpo_gn.recorded.nearest import NearestRuns
from tests.recorded.runs import a_run, a_table

POINTS = np.random.default_rng(0).random((100, 3))
FIRST, SECOND = POINTS[:, :1], POINTS[:, 1:2]


def test_an_axis_weighs_as_much_as_it_explains():
    weights = axis_weights(POINTS, FIRST + 0.1 * SECOND)
    assert weights.sum() == pytest.approx(1)
    assert weights[0] > 0.8 > weights[1] > weights[2]


def test_criteria_count_alike_whatever_their_scale():
    weights = axis_weights(POINTS, np.hstack([FIRST, 1e6 * SECOND**3]))
    assert weights[0] == pytest.approx(weights[1], abs=0.1)
    assert weights[2] < 0.1


@pytest.mark.parametrize(
    ("points", "criteria"),
    [
        (POINTS[: FEWEST - 1], FIRST[: FEWEST - 1]),
        (POINTS, np.empty((100, 0))),
        (POINTS, np.ones((100, 1))),
    ],
    ids=["few runs", "no criteria", "all alike"],
)
def test_where_nothing_can_be_told_axes_weigh_alike(points, criteria):
    assert axis_weights(points, criteria).tolist() == [1 / 3] * 3


def test_a_table_weighs_its_axes_by_loss_and_agn_of_what_was_trained_to_the_end():
    rates = np.logspace(-4, 0, 30)
    random = np.random.default_rng(0)
    sizes = random.integers(1, 65, 30)
    runs = [
        a_run(number, *[float(rate)] * 4, learning_rate=float(rate), batch_size=int(size))
        for number, (rate, size) in enumerate(zip(rates, sizes, strict=True))
    ]
    diverged = [a_run(30 + n, reason="diverged at epoch 1: NaN", epochs=1) for n in range(5)]
    table = a_table(*runs, *diverged)
    assert table.weights[0] > 0.8
    # The rate decides what is near: the run of the other size, not that of the other rate.
    there = NearestRuns(table).take({"learning_rate": 1e-2, "batch_size": 64})
    assert abs(np.log10(there.params["learning_rate"]) + 2) < 0.2
    assert a_table(*runs[:5], *diverged).weights.tolist() == [0.5, 0.5]
    assert a_table(*diverged).weights.tolist() == [0.5, 0.5]
