"""A searcher that works on values among all finished trials, computed anew whenever one has finished."""

import copy
import math
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from scipy.stats import rankdata

from hpo_gn.fidelity import epochs_of
from hpo_gn.history import History
from hpo_gn.objectives import RelativeObjective
from hpo_gn.shown_study import ShownSampler, shown_study

_ASKED_ABOUT_A_STUDY = ("next_assignment", "fits", "schedule_state")
"""Methods that a sampler may have besides Optuna's, whose first argument is the study."""


def ranked_anew(objective: RelativeObjective, trials: Sequence[FrozenTrial]) -> dict[int, float]:
    """By its number, what a finished trial of a study that is minimized is worth among all of them.

    Completed trials are compared with those of as many epochs. Pruned ones, of which no objective can know
    what they would have been worth, come behind every completed one, in the order of their own values. A
    trial without a History, as in a plan, keeps its value, and is not listed.

    Args:
        objective: what compares them.
        trials: of the study.
    """
    groups: dict[int, list[tuple[int, History]]] = defaultdict(list)
    for trial in trials:
        if trial.state == TrialState.COMPLETE and len(history := History.of(trial)):
            groups[epochs_of(trial, 0)].append((trial.number, history))
    values: dict[int, float] = {}
    for group in groups.values():
        numbers, histories = zip(*group, strict=True)
        values |= zip(numbers, map(float, objective.among(histories)), strict=True)
    behind = max((value for value in values.values() if math.isfinite(value)), default=0.0)
    pruned = {trial.number: trial.value for trial in trials if trial.state == TrialState.PRUNED}
    own = {number: value for number, value in pruned.items() if value is not None and math.isfinite(value)}
    places = rankdata(list(own.values()), method="dense") if own else ()
    return values | {number: behind + float(place) for number, place in zip(own, places, strict=True)}


class Reranked(ShownSampler):
    """A sampler that is shown every finished trial with its value among all of them.

    The study keeps what was reported. What is shown is a function of the finished trials alone, so a sampler
    that depends on nothing but the study still does. Methods beyond Optuna's, such as `next_assignment`, are
    the wrapped sampler's, and are there if it has them.

    Args:
        sampler: any sampler.
        objective: what compares the trials.
    """

    def __init__(self, sampler: BaseSampler, objective: RelativeObjective) -> None:
        super().__init__(sampler)
        self.objective = objective
        self._known: tuple[BaseStorage, tuple[int, ...], dict[int, FrozenTrial]] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy is sent without the trials that are remembered."""
        return Reranked, (self.sampler, self.objective)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        found = getattr(self.sampler, name)
        if name not in _ASKED_ABOUT_A_STUDY:
            return found
        return lambda study, *args, **kwargs: found(self.shown(study), *args, **kwargs)

    def shown(self, study: Study) -> Study:
        """The study with the values among all."""
        storage = study._storage
        return shown_study(study, lambda trials: self._reranked(storage, trials))

    def _reranked(self, storage: BaseStorage, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """The trials with their values among all; those of the same finished ones are computed once."""
        finished = tuple(trial._trial_id for trial in trials if trial.state.is_finished())
        known = self._known
        if known is None or known[0] is not storage or known[1] != finished:
            values = ranked_anew(self.objective, trials)
            shown = {t._trial_id: valued(t, values[t.number]) for t in trials if t.number in values}
            known = self._known = (storage, finished, shown)
        return [known[2].get(trial._trial_id, trial) for trial in trials]


def valued(trial: FrozenTrial, value: float) -> FrozenTrial:
    """The trial with another value."""
    shown = copy.copy(trial)
    shown.value = value
    return shown
