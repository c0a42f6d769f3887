"""A study as a sampler is shown it: the same but for what is said of its finished trials."""

import abc
import copy
from collections.abc import Callable, Container, Sequence
from typing import Any, cast

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

Change = Callable[[Sequence[FrozenTrial]], list[FrozenTrial]]
"""All trials of a study → what is shown instead; those that differ are copies."""


def shown_study(study: Study, change: Change, directions: Sequence[StudyDirection] | None = None) -> Study:
    """A study with other trials, and all else as it is, made for one question: it shows the trials as they
    are when it is first asked for them. What is written on its trials is written on the real ones; on the
    shown study's own system attributes, nowhere else.

    Args:
        study: the real one.
        change: what is shown of its trials.
        directions: of the shown study; None for the real one's.
    """
    shown = copy.copy(study)  # queries nothing, and caches for itself
    shown._storage = cast(BaseStorage, _ShownStorage(study._storage, change))
    if directions is not None:
        shown._directions = list(directions)
    return shown


class ShownSampler(BaseSampler, abc.ABC):
    """A sampler around another one, which is shown other trials than the study has.

    Args:
        sampler: the one inside.
    """

    def __init__(self, sampler: BaseSampler) -> None:
        self.sampler = sampler

    @abc.abstractmethod
    def shown(self, study: Study) -> Study:
        """The study that the sampler inside is shown."""

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The sampler's inside."""
        return self.sampler.infer_relative_search_space(self.shown(study), trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The sampler's inside."""
        return self.sampler.sample_relative(self.shown(study), trial, search_space)

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """The sampler's inside."""
        return self.sampler.sample_independent(self.shown(study), trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """The sampler's inside."""
        self.sampler.before_trial(self.shown(study), trial)

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """The sampler's inside."""
        self.sampler.after_trial(self.shown(study), trial, state, values)

    def reseed_rng(self) -> None:
        """The sampler's inside."""
        self.sampler.reseed_rng()


class _ShownStorage:
    """A storage that lists other trials; all else is the real one's.

    It is changed here and not in the study, since some samplers ask the storage.
    """

    def __init__(self, storage: BaseStorage, change: Change) -> None:
        self._storage, self._change = storage, change
        self._trials: list[FrozenTrial] | None = None
        self._system_attrs: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Optuna's, of the trials that are shown."""
        if self._trials is None:
            self._trials = self._change(self._storage.get_all_trials(study_id, deepcopy=False))
        listed = [trial for trial in self._trials if states is None or trial.state in states]
        return copy.deepcopy(listed) if deepcopy else listed

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """The real study's, and what was written here."""
        return self._storage.get_study_system_attrs(study_id) | self._system_attrs

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """Remember it here."""
        del study_id
        self._system_attrs[key] = value

    # Storages have faster ways to these, which know the real trials; Optuna's own count on get_all_trials.
    get_n_trials = BaseStorage.get_n_trials
    get_best_trial = BaseStorage.get_best_trial
