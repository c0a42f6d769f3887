"""Optuna's multi-objective samplers on a study of one objective: two criteria are read off each History."""

import abc
import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hpo_gn.history import History
from hpo_gn.objectives import Pareto
from hpo_gn.searchers._per_trial_seed import PerTrialSeedSampler
from hpo_gn.shown_study import ShownSampler, shown_study

Criteria = Callable[[History], tuple[float, float]]
"""What is minimized: two numbers of a history, which may be infinite but not NaN."""


class TwoCriteriaSampler(PerTrialSeedSampler):
    """A multi-objective sampler of Optuna's, seeded from `[seed, trial.number]` and shown a study of two
    objectives: the criteria of each completed trial instead of its value. A trial that was pruned, whose
    criteria are of fewer epochs, is not shown, and neither is one without a History.

    Args:
        search_space, initial, seed: as of `SeededSampler`.
        criteria: what is minimized; with None validation loss and AGN.
    """

    def __init__(
        self,
        *,
        search_space: Mapping[str, BaseDistribution] | None = None,
        initial: Mapping[str, Any] | None = None,
        seed: int = 0,
        criteria: Criteria | None = None,
    ) -> None:
        super().__init__(search_space=search_space, initial=initial, seed=seed)
        self.criteria = criteria or Pareto().values

    @abc.abstractmethod
    def multi_objective(self, seed: int) -> BaseSampler:
        """A fresh multi-objective sampler of Optuna's with the seed."""

    def inner(self, seed: int) -> BaseSampler:
        """The same, which is shown the criteria."""
        return _Shown(self.multi_objective(seed), self.criteria)


class _Shown(ShownSampler):
    """Shows a sampler the study with criteria for values."""

    def __init__(self, sampler: BaseSampler, criteria: Criteria) -> None:
        super().__init__(sampler)
        self._criteria = criteria

    def shown(self, study: Study) -> Study:
        return shown_study(study, self._with_criteria, [StudyDirection.MINIMIZE] * 2)

    def _with_criteria(self, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        shown = []
        for trial in trials:
            if not trial.state.is_finished():
                shown.append(trial)
            elif trial.state == TrialState.COMPLETE and len(history := History.of(trial)):
                shown.append(copy.copy(trial))
                shown[-1].values = list(self._criteria(history))
        return shown
