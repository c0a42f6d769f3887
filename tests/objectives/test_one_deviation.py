import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_gn.errors import ArgumentError
from hpo_gn.history import History
from hpo_gn.objectives import OneDeviation

numbers = st.floats(-10, 10) | st.integers(0, 3).map(float)
pairs = st.lists(st.tuples(numbers, numbers), min_size=1, max_size=12)


def of(*numbers: tuple[float, float]) -> list[History]:
    return [History([{"val_loss": loss, "agn": agn}]) for loss, agn in numbers]


def test_within_one_deviation_agn_decides_and_beyond_it_the_loss():
    histories = of((1.0, 30), (1.1, 10), (1.2, 20), (1.3, 1), (1.25, 2))
    assert OneDeviation(0.2).among(histories) == [2, 0, 1, 4, 3]


def test_equal_ones_share_the_mean_of_their_places():
    assert OneDeviation(0.2).among(of((1.0, 5), (1.1, 5), (2.0, 1), (2.0, 9))) == [0.5, 0.5, 2.5, 2.5]


@pytest.mark.parametrize("deviation", [0.0, 0.5])
def test_losses_below_zero_have_a_deviation_too(deviation):
    histories = of((-2.0, 9), (-1.0, 1), (-0.9, 0))
    assert OneDeviation(deviation).among(histories) == ([1, 0, 2] if deviation else [0, 1, 2])


@given(pairs, st.floats(0, 2))
def test_it_is_the_order_that_the_definition_gives(pairs, deviation):
    best = min(loss for loss, _ in pairs)
    within = [pair for pair in pairs if pair[0] <= best + deviation * abs(best)]
    beyond = [pair for pair in pairs if pair not in within]
    values = OneDeviation(deviation).among(of(*pairs))
    value = dict(zip(pairs, values, strict=True))
    assert max(value[pair] for pair in within) < min((value[pair] for pair in beyond), default=math.inf)
    for group, key in ((within, 1), (beyond, 0)):
        for one in group:
            for other in group:
                assert (value[one] < value[other]) == (one[key] < other[key])
    assert sum(values) == sum(range(len(pairs)))


@pytest.mark.parametrize("deviation", [-0.1, math.nan, math.inf])
def test_a_deviation_out_of_range_is_refused(deviation):
    with pytest.raises(ArgumentError) as raised:
        OneDeviation(deviation)
    assert str(raised.value) == f"deviation must be a finite number, 0 or more, got {deviation!r}"


def test_gated_the_unfitted_come_last_of_those_within():
    fitted = {"train_accuracy": 1.0, "train_majority": 0.1, "train_entropy": 0.0, "val_loss": 1.0}
    rows = [fitted | {"agn": 1.0, "train_accuracy": 0.1}, fitted | {"agn": 9.0}, fitted | {"agn": 3.0}]
    histories = [History([row]) for row in [*rows, rows[1] | {"val_loss": 2.0}]]
    assert OneDeviation(0.2).among(histories) == [0, 2, 1, 3]
    assert OneDeviation(0.2, gated=True).among(histories) == [2, 1, 0, 3]
