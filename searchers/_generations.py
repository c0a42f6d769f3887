"""The finished trials of a searcher that works in generations, and what it remembers of them."""

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from hpo_gn.searchers._costs import as_cost, sign_of
from hpo_gn.unit_cube import UnitCube

Point = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Member:
    """A trial that a searcher proposed.

    Attributes:
        number: the trial's.
        params: the trial's parameters that the search space has, as sorted items.
        finished: whether it has finished.
        cost: its value, lower is better; infinite if it failed or its value is not finite.
        pruned: whether it was stopped early, so that its value is of fewer epochs.
        memory: what `remember` wrote.
    """

    number: int
    params: tuple[tuple[str, Any], ...]
    finished: bool
    cost: float
    pruned: bool
    memory: dict[str, Any]

    def point(self, cube: UnitCube, proposed: npt.ArrayLike) -> Point:
        """Where the trial was evaluated, shape (d,): where it was proposed, unless its parameters differ.

        They differ when the user fixed some (`enqueue_trial`, `PartialFixedSampler`).
        """
        params = cube.decode(proposed)
        if all(params[name] == value for name, value in self.params):
            return np.asarray(proposed, dtype=np.float64)
        return cube.encode(params | dict(self.params))


def remember(study: Study, trial: FrozenTrial, key: str, cube: UnitCube, **memory: Any) -> None:
    """Write what a searcher must know of a trial, as JSON, with the trial's number and its search space.

    Args:
        study: the trial's study.
        trial: a running trial.
        key: the system attribute.
        cube: the search space's.
        **memory: plain values.
    """
    record = {"trial": trial.number, "space": _fingerprint(cube), **memory}
    study._storage.set_trial_system_attr(trial._trial_id, key, record)


def recall(study: Study, key: str, cube: UnitCube) -> list[Member]:
    """The trials with a memory of this search space, those that finished first in front, running ones last.

    A memory with another trial's number was copied by a retry and is ignored.

    Args:
        study: the study, or the part of it that a HyperbandPruner shows.
        key: the system attribute.
        cube: the search space's.
    """
    space = _fingerprint(cube)
    found = [
        (trial.datetime_complete or datetime.max, trial.number, _member(study, trial, memory, cube))
        for trial in study.get_trials(deepcopy=False)
        if (memory := trial.system_attrs.get(key)) is not None
        and (memory["trial"], memory["space"]) == (trial.number, space)
    ]
    return [member for *_, member in sorted(found, key=lambda item: item[:2])]


def complete_generations(members: list[Member], size: int) -> list[tuple[Member, ...]]:
    """The leading generations that have `size` finished trials, the first to finish, ordered by number.

    Later ones of a generation that is complete were proposed while others still ran: they do not count, so
    that what has been learned never changes.
    """
    finished = defaultdict(list)
    for member in members:
        if member.finished:
            finished[member.memory["generation"]].append(member)
    generations: list[tuple[Member, ...]] = []
    while len(finished[len(generations)]) >= size:
        first = finished[len(generations)][:size]
        generations.append(pruned_behind(sorted(first, key=lambda member: member.number)))
    return generations


def pruned_behind(generation: Iterable[Member]) -> tuple[Member, ...]:
    """A generation whose pruned trials cost at least as much as any that was completed: a value of few epochs
    may look better than it is, as one does that adds up over the epochs.
    """
    members = tuple(generation)
    completed = [member.cost for member in members if not member.pruned and math.isfinite(member.cost)]
    worst = max(completed, default=-math.inf)
    return tuple(
        replace(member, cost=max(member.cost, worst)) if member.pruned else member for member in members
    )


def _member(study: Study, trial: FrozenTrial, memory: dict[str, Any], cube: UnitCube) -> Member:
    params = tuple(sorted((n, v) for n, v in trial.params.items() if n in cube.distributions))
    return Member(
        trial.number,
        params,
        finished=trial.state.is_finished(),
        cost=_cost(study, trial),
        pruned=trial.state == TrialState.PRUNED,
        memory=memory,
    )


def _cost(study: Study, trial: FrozenTrial) -> float:
    value = trial.value if trial.state in (TrialState.COMPLETE, TrialState.PRUNED) else None
    return as_cost(value, sign_of(study))


def _fingerprint(cube: UnitCube) -> str:
    return hashlib.sha256(repr(list(cube.distributions.items())).encode()).hexdigest()[:16]
