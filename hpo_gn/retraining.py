"""The protocol's end: the winner, and the initial settings where they are to be compared, trained on the full
training set and tested, several seeds each.
"""

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.trial import FrozenTrial, TrialState

from hpo_gn.budget import Hold
from hpo_gn.checkpoint import Checkpoints
from hpo_gn.errors import StudyError
from hpo_gn.experiment import Experiment
from hpo_gn.fidelity import EPOCHS, ROUND
from hpo_gn.history import History
from hpo_gn.judging import completed, values_of
from hpo_gn.objectives import Objective, RelativeObjective
from hpo_gn.recipe import objective_of
from hpo_gn.reranking import valued
from hpo_gn.result import Retrained
from hpo_gn.rounds import ROUNDS
from hpo_gn.seeds import derive_seed
from hpo_gn.trial import REASON
from hpo_gn.worker import SEED

ROLE = "hpo_gn:role"
"""Attribute of a retraining: "winner" or "initial"."""
ROLES = ("winner", "initial")
WINNER_ALONE = ("winner",)
"""The roles of a retraining that compares its winner with nothing."""
INDEX = "hpo_gn:index"
"""Attribute of a retraining: which of the seeds it has, from 0."""

_TAG = 2**31  # no trial has this number, so no retraining shares a trial's seed


def retraining_name(study: str, winner: int) -> str:
    """The name of the study of a trial's retraining."""
    return f"{study}/retraining of trial {winner}"


def retraining_epochs(seeds: int, epochs: int, gpus: int, roles: Sequence[str] = ROLES) -> int:
    """GPU×epochs of a retraining: so many seeds of each role, of so many epochs."""
    return len(roles) * seeds * epochs * gpus


def retraining_seed(experiment: Experiment, index: int) -> int:
    """The seed of a retraining, the same for every trial's: `index` counts them from 0."""
    return derive_seed(experiment.seed, _TAG + index)


def find_winner(study: optuna.Study, objective: Objective | None = None) -> FrozenTrial:
    """The best completed trial among those with the most epochs, the earliest of equals.

    By an objective that compares trials it is the best among them, and has its value among them.

    Args:
        study: of a search.
        objective: the search's; None for the one that the study names, if its recipe is there.

    Raises:
        StudyError: no trial was completed.
    """
    trials = study.get_trials(deepcopy=False)
    if not any(trial.state == TrialState.COMPLETE for trial in trials):
        reasons = sorted({str(trial.user_attrs.get(REASON, "unknown")) for trial in trials})
        raise StudyError(f"none of the {len(trials)} trials was completed: {'; '.join(reasons[:3])}")
    objective = objective or objective_of(study)
    candidates = completed(trials)
    if isinstance(objective, RelativeObjective):
        values = values_of(objective, [History.of(trial) for trial in candidates])
        candidates = [valued(trial, value) for trial, value in zip(candidates, values, strict=True)]
    return min(candidates, key=lambda trial: (trial.value, trial.number))


def prepare(
    study: optuna.Study,
    experiment: Experiment,
    winner: Mapping[str, Any],
    seeds: int,
    turn: Hold,
    roles: Sequence[str] = ROLES,
) -> None:
    """Give a study the trials of the retraining, those that are missing: every role with the same seeds.

    Raises:
        HoldClosedError: the turn lapsed meanwhile: another worker prepares them.
    """
    settings = {"winner": winner, "initial": experiment.initial}
    there = _trainings(study)
    for role, index in product(roles, range(seeds)):
        if (role, index) not in there:
            turn.confirm()
            study.add_trial(_trial(experiment, role, index, settings[role]))
    study.set_user_attr(ROUNDS, 1)


def is_prepared(study: optuna.Study, seeds: int, roles: Sequence[str] = ROLES) -> bool:
    """Whether a study has the trials of a retraining of these roles with so many seeds, all of them."""
    return study.user_attrs.get(ROUNDS) == 1 and _trainings(study).issuperset(product(roles, range(seeds)))


def count_trainings(study: optuna.Study, seeds: int, roles: Sequence[str] = ROLES) -> int:
    """How many trainings a retraining's study will have: those that it has, of an earlier one with other
    roles or more seeds, and those that it lacks.
    """
    return len(_trainings(study).union(product(roles, range(seeds))))


def _trainings(study: optuna.Study) -> set[tuple[str, int]]:
    """Role and index of each."""
    trials = study.get_trials(deepcopy=False)
    return {(trial.user_attrs[ROLE], trial.user_attrs[INDEX]) for trial in trials}


def _trial(experiment: Experiment, role: str, index: int, params: Mapping[str, Any]) -> FrozenTrial:
    attributes = {
        ROLE: role,
        INDEX: index,
        SEED: retraining_seed(experiment, index),
        EPOCHS: experiment.epochs,
        ROUND: 1,
    }
    return optuna.trial.create_trial(
        state=TrialState.RUNNING,
        params=dict(params),
        distributions=experiment.distributions,
        user_attrs=attributes,
    )


def collect(study: optuna.Study, role: str, params: Mapping[str, Any]) -> Retrained:
    """What the retrainings of one role gave.

    Args:
        study: the retraining's.
        role: "winner" or "initial".
        params: that role's settings.
    """
    trials = [trial for trial in study.get_trials(deepcopy=False) if trial.user_attrs[ROLE] == role]
    trials.sort(key=lambda trial: int(trial.user_attrs[INDEX]))
    done = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    rows = [History.of(trial).rows[-1] for trial in done]
    return Retrained(
        params=dict(params),
        test_accuracy=tuple(row["test_accuracy"] for row in rows),
        test_loss=tuple(row["test_loss"] for row in rows),
        failures=tuple(str(trial.user_attrs.get(REASON)) for trial in trials if trial not in done),
    )


def keep_model(study: optuna.Study, checkpoints: Checkpoints, path: Path) -> None:
    """Keep the weights of the winner's first retraining as a state_dict, if its training saved any."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        if (trial.user_attrs[ROLE], trial.user_attrs[INDEX]) == ("winner", 0):
            found = checkpoints.latest(trial.number)
            if found is not None and "model" in found.state:
                torch.save(found.state["model"], path)
