"""hpbandster's model of good and bad configurations, rebuilt from results and asked without side effects."""

import importlib
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from ConfigSpace import CategoricalHyperparameter, ConfigurationSpace, UniformFloatHyperparameter
from optuna.distributions import BaseDistribution, CategoricalDistribution

from hpo_gn.errors import HpoGnError
from hpo_gn.searchers._global_random import global_random
from hpo_gn.unit_cube import UnitCube

_QUIET = threading.RLock()
"""Warning filters are the process's: two threads that set and restore them would leave one's behind."""


def require_hpbandster() -> None:
    """Import hpbandster, which takes seconds.

    Raises:
        HpoGnError: it is not installed, or cannot be imported.
    """
    try:
        _hpbandster("optimizers.config_generators.bohb")
    except ImportError as error:
        raise HpoGnError(f"bohb needs hpbandster: pip install 'hpo_gn[bohb]' ({error})") from None


class DensityModel:
    """hpbandster's `BOHB` generator (Falkner et al. 2018, section 4.1) on the points of a unit cube.

    It sees every parameter as a number in [0, 1] or a category, so that neither a logarithm's rounding at a
    bound nor a category's type reaches it. Losses reach it as ranks: it only sorts them, and ties then fall
    the same way on every machine. The model is that of the most epochs with enough results, as hpbandster's.

    Args:
        cube: the encoding of the parameters; at least one must have an axis.
        results: by epochs, the parameters of finished trials, best first.
    """

    def __init__(self, cube: UnitCube, results: Mapping[int, Sequence[Mapping[str, Any]]]) -> None:
        self._cube = cube
        self._warnings = _Warnings()
        with _quiet():
            self._generator = _hpbandster("optimizers.config_generators.bohb").BOHB(
                _configspace(cube), random_fraction=0, logger=self._warnings
            )
            for epochs in sorted(results, reverse=True):
                self._feed(epochs, results[epochs])
                if self.fitted:
                    break

    @property
    def fitted(self) -> bool:
        """Whether some number of epochs had enough results for a model."""
        return bool(self._generator.kde_models)

    def propose(self, state: np.random.RandomState) -> dict[str, Any] | None:
        """The parameters that a fitted model proposes, or None where hpbandster silently fell back to random.

        Args:
            state: where the proposal's random numbers start; it is not advanced.
        """
        with _quiet(), global_random(state):
            self._warnings.texts.clear()
            config, info = self._generator.get_config(None)
            fell_back = any("using random" in text.lower() for text in self._warnings.texts)
        return None if fell_back or not info["model_based_pick"] else _params(self._cube, config)

    def _feed(self, epochs: int, ordered: Sequence[Mapping[str, Any]]) -> None:
        job_type = _hpbandster("core.dispatcher").Job
        for rank, params in enumerate(ordered):
            job = job_type(rank, config=_config(self._cube, params), budget=epochs)
            job.result = {"loss": float(rank)}
            self._generator.new_result(job, update_model=rank == len(ordered) - 1)


class _Warnings:
    """Stands in for hpbandster's logger and keeps what it warns of."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def warning(self, message: str, *args: object) -> None:
        self.texts.append(message % args if args else message)

    def debug(self, message: str, *args: object) -> None:
        pass


def _hpbandster(module: str) -> Any:
    with _quiet():
        return importlib.import_module(f"hpbandster.{module}")


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide what hpbandster and its densities warn of: old names and defaults, odd escapes, divisions by zero.

    An error filter would otherwise raise them within its bare `except`, which proposes at random.
    """
    with _QUIET, warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.filterwarnings("ignore", module=r"(.*[/\\])?(hpbandster|statsmodels|pandas)\b")
        yield


def _configspace(cube: UnitCube) -> ConfigurationSpace:
    space = ConfigurationSpace()
    space.add(*(_hyperparameter(axis, cube.distributions[name]) for axis, name in _axes(cube)))
    return space


def _hyperparameter(axis: str, distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return CategoricalHyperparameter(axis, [str(index) for index in range(len(distribution.choices))])
    return UniformFloatHyperparameter(axis, 0.0, 1.0)


def _axes(cube: UnitCube) -> list[tuple[str, str]]:
    """The cube's parameters under names that ConfigSpace accepts and keeps in this order."""
    return [(f"{index:06d}", name) for index, name in enumerate(cube.names)]


def _config(cube: UnitCube, params: Mapping[str, Any]) -> dict[str, float | str]:
    config: dict[str, float | str] = {}
    for (axis, name), unit in zip(_axes(cube), cube.encode(params).tolist(), strict=True):
        distribution = cube.distributions[name]
        if isinstance(distribution, CategoricalDistribution):
            config[axis] = str(int(unit * len(distribution.choices)))
        else:
            config[axis] = unit
    return config


def _params(cube: UnitCube, config: Mapping[str, Any]) -> dict[str, Any]:
    point = []
    for axis, name in _axes(cube):
        distribution = cube.distributions[name]
        if isinstance(distribution, CategoricalDistribution):
            point.append((int(config[axis]) + 0.5) / len(distribution.choices))
        else:
            point.append(float(config[axis]))
    return cube.decode(point)
