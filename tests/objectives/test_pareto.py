import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_gn.history import History
from hpo_gn.objectives import Pareto

numbers = st.floats(0, 100) | st.integers(0, 4).map(float)
pairs = st.lists(st.tuples(numbers, numbers), min_size=1, max_size=14)


def of(*numbers: tuple[float, float]) -> list[History]:
    return [History([{"val_loss": loss, "agn": agn}]) for loss, agn in numbers]


def fronts(pairs: list[tuple[float, float]]) -> list[int]:
    """Peeled one after another, by the definition."""
    left, found, front = dict(enumerate(pairs)), {}, 0
    while left:
        best = [
            number
            for number, (loss, agn) in left.items()
            if not any(o <= loss and a <= agn and (o, a) != (loss, agn) for o, a in left.values())
        ]
        for number in best:
            found[number] = front
            del left[number]
        front += 1
    return [found[number] for number in range(len(pairs))]


@given(pairs)
def test_the_front_is_that_of_the_definition(pairs):
    assert [math.floor(value) for value in Pareto().among(of(*pairs))] == fronts(pairs)


def test_what_balances_the_two_comes_first():
    values = Pareto().among(of((0.0, 10), (0.5, 2), (1.0, 0), (1.0, 10)))
    assert values == pytest.approx([0.5, math.hypot(0.5, 0.2) / 2, 0.5, 1])


def test_scales_do_not_matter():
    ours = Pareto().among(of((0.0, 10), (0.5, 2), (1.0, 0)))
    assert Pareto().among(of((0, 1e6), (5e-9, 2e5), (1e-8, 0))) == pytest.approx(ours)


def test_equal_ones_are_of_one_front():
    assert Pareto().among(of((1, 1), (1, 1), (1, 2), (1, 2), (2, 1))) == [0, 0, 1.5, 1.5, 1.5]


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_what_is_not_finite_is_worst(wrong):
    values = Pareto().among(of((0.5, wrong), (0.4, 5.0), (0.3, wrong), (wrong, wrong)))
    assert [math.floor(value) for value in values] == [1, 0, 0, 2]
    assert values[1] < values[2]


def test_gated_an_unfitted_model_cannot_dominate():
    fitted = {"train_accuracy": 1.0, "train_majority": 0.1, "train_entropy": 0.0}
    rows = [fitted | {"val_loss": 0.4, "agn": 50.0}, fitted | {"val_loss": 0.5, "agn": 0.0}]
    rows.append(fitted | {"val_loss": 2.3, "agn": 0.0, "train_entropy": 1.0})
    rows.append(rows[-1] | {"agn": -1.0})
    histories = [History([row]) for row in rows]
    assert [math.floor(value) for value in Pareto().among(histories)] == [0, 0, 1, 0]
    assert [math.floor(value) for value in Pareto(gated=True).among(histories)] == [0, 0, 1, 1]
    assert Pareto(gated=True).values(histories[2]) == (2.3, math.inf)
