"""A pruner that judges a trial by earlier rounds alone, so that it matters to nobody who ran beside it."""

import copy
from collections.abc import Container
from typing import Any, cast

from optuna.pruners import BasePruner
from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from hpo_gn.fidelity import ROUND
from hpo_gn.pruning.wrapper import PrunerWrapper, reason_of


class EarlierRounds(PrunerWrapper):
    """Shows a pruner the trials of earlier rounds and the trial itself, and no other.

    A round's trials run side by side, in an order that depends on the number of workers; those of earlier
    rounds are finished. So the verdict depends on the study alone.

    For the same reason the pruner is a new copy at every call: some remember what they saw first, such as
    `HyperbandPruner` the largest step, which differs between a worker that was there from the beginning and
    one that joined. A pruner must therefore take what it needs from the study.

    A trial without `hpo_gn.rounds.ROUND` is of somebody else's study, where nothing is hidden or copied.

    Args:
        pruner: any pruner.

    Raises:
        ArgumentError: it is no pruner.
    """

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """What the pruner says of the trial, given earlier rounds."""
        pruner, seen = self._given_earlier_rounds(study, trial)
        return pruner.prune(seen, trial)

    def reason(self, study: Study, trial: FrozenTrial) -> str:
        """Why, given earlier rounds; the pruner's name where it does not say."""
        pruner, seen = self._given_earlier_rounds(study, trial)
        return reason_of(pruner, seen, trial)

    def _given_earlier_rounds(self, study: Study, trial: FrozenTrial) -> tuple[BasePruner, Study]:
        if ROUND not in trial.user_attrs:
            return self.pruner, study
        seen = copy.copy(study)  # queries nothing, and caches for itself
        seen._storage = cast(BaseStorage, _EarlierRoundsStorage(study._storage, trial))
        return copy.deepcopy(self.pruner), seen


class _EarlierRoundsStorage:
    """A storage that lists a trial and those of earlier rounds; all else is the real one's.

    It is filtered here and not in the study, since some pruners make a study of their own from the storage.
    """

    def __init__(self, storage: BaseStorage, trial: FrozenTrial) -> None:
        self._storage, self._trial_id, self._round = storage, trial._trial_id, trial.user_attrs[ROUND]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Optuna's, of the trials that are seen."""
        trials = self._storage.get_all_trials(study_id, deepcopy=False, states=states)
        seen = [trial for trial in trials if self._sees(trial)]
        return copy.deepcopy(seen) if deepcopy else seen

    # Storages have faster ways to these, which know of every trial; Optuna's own count on get_all_trials.
    get_n_trials = BaseStorage.get_n_trials
    get_best_trial = BaseStorage.get_best_trial

    def _sees(self, trial: FrozenTrial) -> bool:
        # One that is still being proposed has no round yet.
        return trial._trial_id == self._trial_id or trial.user_attrs.get(ROUND, self._round) < self._round
