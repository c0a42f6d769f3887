"""What an objective says of trained trials: each by itself, or among the others."""

from collections.abc import Iterable, Sequence

from optuna.trial import FrozenTrial, TrialState

from hpo_gn.errors import StudyError
from hpo_gn.fidelity import epochs_of
from hpo_gn.history import History
from hpo_gn.objectives import Objective, RelativeObjective


def values_of(objective: Objective, histories: Sequence[History]) -> list[float]:
    """An objective's value of each history, in their order, lower is better.

    Raises:
        StudyError: a history lacks a column that the objective reads.
    """
    if isinstance(objective, RelativeObjective):
        return [float(value) for value in objective.among(histories)]
    return [objective(history) for history in histories]


def completed(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """The completed trials among which a winner is chosen: those with the most epochs.

    Raises:
        StudyError: none was completed.
    """
    done = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    if not done:
        raise StudyError("no trial was completed")
    longest = max(epochs_of(trial, 0) for trial in done)
    return [trial for trial in done if epochs_of(trial, 0) == longest]


def choose(objective: Objective, trials: Iterable[FrozenTrial]) -> FrozenTrial:
    """The trial that an objective chooses, the earliest of equals, whatever objective the trials were
    searched by.

    Raises:
        StudyError: no trial was completed, or one lacks a column that the objective reads.
    """
    candidates = completed(trials)
    values = values_of(objective, [History.of(trial) for trial in candidates])
    return min(zip(values, candidates, strict=True), key=lambda pair: (pair[0], pair[1].number))[1]
