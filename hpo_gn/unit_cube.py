"""The unit cube that continuous optimizers search, and the way from it to parameter values and back."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from hpo_gn.errors import ArgumentError, SpaceError
from hpo_gn.space import single_value

DIGITS = 13
"""Significant digits of a decoded float: an ulp of a logarithm must not show in 0.01."""


class UnitCube:
    """An encoding of parameters as points of [0, 1]^d, one axis a parameter.

    A float's axis is its range, linear or logarithmic. Integers, steps and categories own equal bins of
    theirs (an integer on a log scale: what rounds to it on the logarithmic axis) and encode to the middle of
    their bin (to their logarithm). `decode(encode(params)) == params`, for floats of up to 13 significant
    digits of their range. Parameters with a single value have no axis; decoding adds them.

    Args:
        distributions: Optuna's distributions by parameter name. The order of names is the order of axes.

    Raises:
        SpaceError: a distribution is none of Optuna's float, integer and categorical.
    """

    def __init__(self, distributions: Mapping[str, BaseDistribution]) -> None:
        self.distributions = dict(distributions)
        self._axes = {name: _axis(name, d) for name, d in distributions.items() if not d.single()}

    @property
    def names(self) -> list[str]:
        """The parameter of each axis."""
        return list(self._axes)

    @property
    def dimensions(self) -> int:
        """The number of axes."""
        return len(self._axes)

    def encode(self, params: Mapping[str, Any]) -> npt.NDArray[np.float64]:
        """The point of [0, 1]^d, shape (d,), of a mapping that has every parameter with an axis.

        Raises:
            ArgumentError: a parameter is missing or outside its distribution.
        """
        return np.array([self._axes[name].to_unit(self._checked(name, params)) for name in self._axes])

    def decode(self, point: npt.ArrayLike) -> dict[str, Any]:
        """Every parameter's value, as plain Python, at a point of shape (d,), which is clipped to [0, 1]."""
        clipped = [min(max(unit, 0.0), 1.0) for unit in np.asarray(point, dtype=np.float64).tolist()]
        units = dict(zip(self._axes, clipped, strict=True))
        return {
            name: self._axes[name].to_value(units[name]) if name in units else single_value(distribution)
            for name, distribution in self.distributions.items()
        }

    def _checked(self, name: str, params: Mapping[str, Any]) -> Any:
        distribution = self.distributions[name]
        if name not in params:
            raise ArgumentError(name, f"given a value in {distribution}", None)
        try:
            contained = distribution._contains(distribution.to_internal_repr(params[name]))
        except (TypeError, ValueError):
            contained = False
        if not contained:
            raise ArgumentError(name, f"in {distribution}", params[name])
        return params[name]


class _Axis(Protocol):
    def to_unit(self, value: Any) -> float: ...
    def to_value(self, unit: float) -> Any: ...


@dataclass(frozen=True)
class _Interval:
    """The real numbers of [low, high]; the bounds are on the axis's own scale, so logarithms if `log`."""

    low: float
    high: float
    log: bool

    def to_unit(self, value: float) -> float:
        position = math.log(value) if self.log else value
        return min(max((position - self.low) / (self.high - self.low), 0.0), 1.0)

    def to_value(self, unit: float) -> float:
        position = self.low * (1.0 - unit) + self.high * unit
        return math.exp(position) if self.log else position


@dataclass(frozen=True)
class _FloatAxis:
    distribution: FloatDistribution

    @cached_property
    def _interval(self) -> _Interval:
        low, high, log = self.distribution.low, self.distribution.high, self.distribution.log
        return _Interval(math.log(low), math.log(high), True) if log else _Interval(low, high, False)

    def to_unit(self, value: float) -> float:
        return self._interval.to_unit(value)

    def to_value(self, unit: float) -> float:
        value = self._interval.to_value(unit)
        if self.distribution.log:
            rounded = float(f"{value:.{DIGITS - 1}e}")
        else:
            rounded = _round_absolute(value, self.distribution, DIGITS)
        return min(max(rounded, self.distribution.low), self.distribution.high)


@dataclass(frozen=True)
class _LogIntegerAxis:
    distribution: IntDistribution

    @cached_property
    def _interval(self) -> _Interval:
        low, high = self.distribution.low, self.distribution.high
        return _Interval(math.log(low - 0.5), math.log(high + 0.5), True)

    def to_unit(self, value: int) -> float:
        return self._interval.to_unit(value)

    def to_value(self, unit: float) -> int:
        return min(max(round(self._interval.to_value(unit)), self.distribution.low), self.distribution.high)


@dataclass(frozen=True)
class _StepAxis:
    """Values low, low + step, …, high in equal bins."""

    distribution: FloatDistribution | IntDistribution
    step: float

    @cached_property
    def _count(self) -> int:
        return round((self.distribution.high - self.distribution.low) / self.step) + 1

    def to_unit(self, value: float) -> float:
        return (round((value - self.distribution.low) / self.step) + 0.5) / self._count

    def to_value(self, unit: float) -> float:
        value = self.distribution.low + min(int(unit * self._count), self._count - 1) * self.step
        if isinstance(self.distribution, IntDistribution):
            return value
        # 3 * 0.1 is 0.30000000000000004; a grid that starts at 1/3 must stay where it is.
        rounded = _round_absolute(value, self.distribution, digits=15)
        return min(rounded if self.distribution._contains(rounded) else value, self.distribution.high)


@dataclass(frozen=True)
class _CategoryAxis:
    choices: tuple[Any, ...]

    def to_unit(self, value: Any) -> float:
        return (_index(value, self.choices) + 0.5) / len(self.choices)

    def to_value(self, unit: float) -> Any:
        return self.choices[min(int(unit * len(self.choices)), len(self.choices) - 1)]


def _axis(name: str, distribution: BaseDistribution) -> _Axis:
    match distribution:
        case FloatDistribution(step=None):
            return _FloatAxis(distribution)
        case FloatDistribution(step=float(step)):
            return _StepAxis(distribution, step)
        case IntDistribution(log=True):
            return _LogIntegerAxis(distribution)
        case IntDistribution(step=step):
            return _StepAxis(distribution, step)
        case CategoricalDistribution(choices=choices):
            return _CategoryAxis(choices)
    raise SpaceError(f"{name}: {distribution!r} is not supported")


def _round_absolute(value: float, distribution: FloatDistribution, digits: int) -> float:
    """The value to so many digits of the range's largest magnitude, beyond which arithmetic leaves noise."""
    magnitude = max(abs(distribution.low), abs(distribution.high))
    return round(value, digits - 1 - math.floor(math.log10(magnitude)))


def _index(value: Any, choices: tuple[Any, ...]) -> int:
    """The index of a choice, telling `True` from `1`, which are equal in Python, where both are choices."""
    same = [i for i, choice in enumerate(choices) if type(choice) is type(value) and choice == value]
    return same[0] if same else int(CategoricalDistribution(choices).to_internal_repr(value))
