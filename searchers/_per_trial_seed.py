"""Optuna's own samplers, made a function of the study and a seed."""

import abc
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from hpo_gn.searchers._seeded import SeededSampler
from hpo_gn.unit_cube import UnitCube


class PerTrialSeedSampler(SeededSampler):
    """A sampler of Optuna's, made anew for each trial and seeded from `[seed, trial.number]`."""

    @abc.abstractmethod
    def inner(self, seed: int) -> BaseSampler:
        """A fresh sampler of Optuna's with the seed."""

    def propose(self, study: Study, trial: FrozenTrial, cube: UnitCube) -> dict[str, Any]:
        """What the inner sampler proposes; the initial parameters in the study's first trial."""
        params = cube.decode(self.start(cube))
        if trial.number == 0 and self.initial is not None:
            return params
        sampler = self._seeded(trial)
        inferred = sampler.infer_relative_search_space(study, trial)
        together = {n: d for n, d in inferred.items() if cube.distributions.get(n) == d}
        proposed = sampler.sample_relative(study, trial, together)
        for name in cube.names:
            if name not in proposed:
                distribution = cube.distributions[name]
                proposed[name] = sampler.sample_independent(study, trial, name, distribution)
        return params | proposed

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The inner sampler's value, seeded from `[seed, trial.number, param_name]`; first the initial one.

        Raises:
            ValueError: the study has several objectives.
        """
        self._raise_error_if_multi_objective(study)
        if trial.number == 0 and param_name in (self.initial or {}):
            return super().sample_independent(study, trial, param_name, param_distribution)
        sampler = self._seeded(trial, param_name)
        return sampler.sample_independent(study, trial, param_name, param_distribution)

    def _seeded(self, trial: FrozenTrial, name: str = "") -> BaseSampler:
        return self.inner(int(self.random_state(trial.number, name).randint(2**31)))
