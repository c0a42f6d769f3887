"""What every searcher here shares: its arguments, its search space and its random numbers."""

import abc
from collections.abc import Mapping
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.search_space import intersection_search_space
from optuna.study import Study
from optuna.trial import FrozenTrial

from hpo_gn.errors import ArgumentError, UnknownNameError
from hpo_gn.unit_cube import UnitCube


class SeededSampler(BaseSampler, abc.ABC):
    """An Optuna sampler whose proposal is a function of the study's trials and a seed.

    Args:
        search_space: the distributions that `propose` covers, by parameter name. Without it they are what the
            study's completed trials have in common, and trials before the first completed one are random.
        initial: parameters to start from; what "start" means is the searcher's.
        seed: the random numbers of a trial come from `[seed, trial.number]`.

    Raises:
        ArgumentError: the seed is not a non-negative integer, or the initial parameters do not fit the space.
        UnknownNameError: an initial parameter is not in the space.
    """

    def __init__(
        self,
        *,
        search_space: Mapping[str, BaseDistribution] | None = None,
        initial: Mapping[str, Any] | None = None,
        seed: int = 0,
    ) -> None:
        if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
            raise ArgumentError("seed", "a non-negative integer", seed)
        self.seed = seed
        self.initial = None if initial is None else dict(initial)
        self.search_space = None if search_space is None else dict(sorted(search_space.items()))
        if self.initial is not None and self.search_space is not None:
            _check_initial(self.initial, self.search_space)

    @abc.abstractmethod
    def propose(self, study: Study, trial: FrozenTrial, cube: UnitCube) -> dict[str, Any]:
        """The trial's value of every parameter of the cube."""

    def infer_relative_search_space(
        self,
        study: Study,
        trial: FrozenTrial,  # noqa: ARG002  # Optuna's signature
    ) -> dict[str, BaseDistribution]:
        """The search space given at construction, or what the completed trials have in common."""
        if self.search_space is not None:
            return self.search_space
        return intersection_search_space(study.get_trials(deepcopy=False))

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The searcher's proposal for the trial.

        Raises:
            ValueError: the study has several objectives.
        """
        self._raise_error_if_multi_objective(study)
        return self.propose(study, trial, UnitCube(search_space)) if search_space else {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A random value from `[seed, trial.number, param_name]`; the initial one in the study's first trial.

        Raises:
            ValueError: the study has several objectives.
        """
        self._raise_error_if_multi_objective(study)
        cube = UnitCube({param_name: param_distribution})
        if trial.number == 0 and self.initial is not None and param_name in self.initial:
            cube.encode(self.initial)
            return self.initial[param_name]
        return cube.decode(self.random_state(trial.number, param_name).random(cube.dimensions))[param_name]

    def random_state(self, number: int, name: str = "") -> np.random.RandomState:
        """A generator that depends on the seed, a trial's number and, if given, a parameter's name alone."""
        entropy = [self.seed, number, *name.encode()]
        return np.random.RandomState(np.random.MT19937(np.random.SeedSequence(entropy)))

    def start(self, cube: UnitCube) -> np.ndarray[Any, np.dtype[np.float64]]:
        """The point of the cube, shape (d,), to start from: the middle, where no initial value is given."""
        middle = cube.decode(np.full(cube.dimensions, 0.5))
        given = {name: value for name, value in (self.initial or {}).items() if name in middle}
        point = cube.encode(middle | given)
        return np.where([name in given for name in cube.names], point, 0.5)


def _check_initial(initial: Mapping[str, Any], search_space: Mapping[str, BaseDistribution]) -> None:
    for name in initial:
        if name not in search_space:
            raise UnknownNameError("parameter of the search space", name, search_space)
    UnitCube(search_space).encode(initial)
