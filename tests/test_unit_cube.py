"""The unit cube: round trips, equal bins, bounds, and what does not fit."""

import math
from collections import Counter
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from hpo_gn.errors import ArgumentError, SpaceError
from hpo_gn.unit_cube import UnitCube

MIXED: dict[str, BaseDistribution] = {
    "learning_rate": FloatDistribution(1e-7, 0.5, log=True),
    "momentum": FloatDistribution(0.0, 0.99),
    "dropout": FloatDistribution(-10.2, 10.2, step=0.1),
    "batch_size": IntDistribution(32, 1000, log=True),
    "width": IntDistribution(-10, 10, step=4),
    "choice": CategoricalDistribution([None, True, 1, 1.5, "a", ""]),
    "fixed": IntDistribution(3, 3),
}


def values_of(distribution: BaseDistribution) -> st.SearchStrategy[Any]:
    match distribution:
        case FloatDistribution(low=low, high=high, step=None):
            decimals = st.decimals(str(low), str(high), allow_nan=False, places=9)
            return st.one_of(
                decimals.map(float).filter(lambda v: low <= v <= high), st.sampled_from([low, high])
            )
        case FloatDistribution(low=low, high=high, step=float(step)):
            count = round((high - low) / step)
            return st.integers(0, count).map(lambda k: min(round(low + k * step, 12), high))
        case IntDistribution(low=low, high=high, step=step):
            return st.integers(0, (high - low) // step).map(lambda k: low + k * step)
        case CategoricalDistribution(choices=choices):
            return st.sampled_from(choices)
    raise AssertionError(distribution)


def test_the_test_draws_every_kind() -> None:
    assert {type(d) for d in MIXED.values()} == {FloatDistribution, IntDistribution, CategoricalDistribution}


@given(st.fixed_dictionaries({name: values_of(distribution) for name, distribution in MIXED.items()}))
def test_decode_takes_encode_back_exactly(params: dict[str, Any]) -> None:
    cube = UnitCube(MIXED)
    point = cube.encode(params)
    assert np.all((point >= 0) & (point <= 1))
    decoded = cube.decode(point)
    assert decoded == params
    assert {name: type(value) for name, value in decoded.items()} == {n: type(v) for n, v in params.items()}


@st.composite
def ranges(draw: st.DrawFn) -> BaseDistribution:
    log = draw(st.booleans())
    bounds = st.floats(1e-12 if log else -1e6, 1e6, allow_subnormal=False)
    low, high = sorted(draw(st.tuples(bounds, bounds)))
    if draw(st.booleans()):
        low, high = (max(math.floor(low), 1), max(math.floor(high), 1)) if log else (int(low), int(high))
        return IntDistribution(low, high, log=log, step=1 if log else draw(st.integers(1, 50)))
    step = None if log else draw(st.none() | st.floats(1.0, 1e3))
    return FloatDistribution(low, high, log=log, step=step)


@pytest.mark.filterwarnings("ignore:The distribution is specified by")
@given(ranges(), st.floats(0, 1))
def test_any_point_decodes_to_a_plain_value_of_the_range_that_comes_back(
    distribution: BaseDistribution, unit: float
) -> None:
    cube = UnitCube({"x": distribution})
    value = cube.decode(np.full(cube.dimensions, unit))["x"]
    assert type(value) is (int if isinstance(distribution, IntDistribution) else float)
    assert distribution._contains(distribution.to_internal_repr(value))
    assert cube.decode(cube.encode({"x": value}))["x"] == value


def test_a_grid_that_decimals_cannot_hold_stays_where_it_is() -> None:
    cube = UnitCube({"x": FloatDistribution(-100000.88671875, -0.88671875, step=1.0)})
    assert cube.decode([0.0])["x"] == -100000.88671875


@given(st.floats(1e-7, 0.5))
def test_any_float_comes_back_to_thirteen_digits(value: float) -> None:
    cube = UnitCube({"x": MIXED["learning_rate"]})
    assert cube.decode(cube.encode({"x": value}))["x"] == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("distribution", "values"),
    [
        (IntDistribution(0, 4), [0, 1, 2, 3, 4]),
        (IntDistribution(-4, 4, step=4), [-4, 0, 4]),
        (FloatDistribution(0.0, 0.3, step=0.1), [0.0, 0.1, 0.2, 0.3]),
        (CategoricalDistribution(["a", "b", None]), ["a", "b", None]),
    ],
)
def test_integers_steps_and_categories_have_equal_bins(
    distribution: BaseDistribution, values: list[Any]
) -> None:
    cube = UnitCube({"x": distribution})
    grid = (np.arange(60) + 0.5) / 60
    assert Counter(cube.decode([unit])["x"] for unit in grid) == dict.fromkeys(values, 60 // len(values))


def test_an_integer_on_a_log_scale_owns_what_rounds_to_it() -> None:
    cube = UnitCube({"x": IntDistribution(1, 4, log=True)})
    edges = [math.log(k / 0.5) / math.log(4.5 / 0.5) for k in (0.5, 1.5, 2.5, 3.5, 4.5)]
    for value, (left, right) in enumerate(pairwise(edges), start=1):
        assert cube.decode([left + 1e-9])["x"] == cube.decode([right - 1e-9])["x"] == value


def test_the_corners_are_the_bounds() -> None:
    cube = UnitCube({"f": FloatDistribution(1e-7, 0.5, log=True), "i": IntDistribution(32, 1000, log=True)})
    assert cube.decode([0, 0]) == {"f": 1e-7, "i": 32}
    assert cube.decode([1, 1]) == {"f": 0.5, "i": 1000}
    assert cube.decode([-3, 7]) == {"f": 1e-7, "i": 1000}


def test_single_values_have_no_axis_and_are_added() -> None:
    cube = UnitCube(
        {
            "a": CategoricalDistribution(["only"]),
            "b": FloatDistribution(2.0, 2.0),
            "c": FloatDistribution(0.0, 1.0),
            "d": IntDistribution(1, 1, log=True),
        }
    )
    assert cube.names == ["c"]
    assert cube.dimensions == 1
    assert cube.decode([0.5]) == {"a": "only", "b": 2.0, "c": 0.5, "d": 1}
    assert list(cube.decode([0.5])) == ["a", "b", "c", "d"]


def test_true_and_one_are_told_apart() -> None:
    cube = UnitCube({"x": CategoricalDistribution([1, True, 1.0])})
    for value in (1, True, 1.0):
        assert type(cube.decode(cube.encode({"x": value}))["x"]) is type(value)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"x": 2.0}, "x must be in FloatDistribution(high=1.0, log=False, low=0.0, step=None), got 2.0"),
        (
            {"x": "wide"},
            "x must be in FloatDistribution(high=1.0, log=False, low=0.0, step=None), got 'wide'",
        ),
        ({"x": math.nan}, "x must be in FloatDistribution(high=1.0, log=False, low=0.0, step=None), got nan"),
        (
            {},
            "x must be given a value in FloatDistribution(high=1.0, log=False, low=0.0, step=None), got None",
        ),
    ],
)
def test_what_does_not_fit_is_named(params: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        UnitCube({"x": FloatDistribution(0.0, 1.0)}).encode(params)
    assert str(caught.value) == message


def test_an_unknown_distribution_is_refused() -> None:
    class Odd(FloatDistribution):
        pass

    class Other(BaseDistribution):
        def single(self) -> bool:
            return False

        def to_internal_repr(self, value: Any) -> float:
            return 0.0

        def _contains(self, value: float) -> bool:
            return True

    assert UnitCube({"x": Odd(0.0, 1.0)}).dimensions == 1
    with pytest.raises(SpaceError, match="x: Other"):
        UnitCube({"x": Other()})
