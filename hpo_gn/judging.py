"""What an objective says of trained trials: each by itself, or among the others."""

import math
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
    """The trial that an objective chooses, whatever objective the trials were searched by.

    Raises:
        StudyError: no trial was completed, one lacks a column that the objective reads, or it gives no trial
            a finite value.
    """
    candidates = completed(trials)
    values = values_of(objective, [History.of(trial) for trial in candidates])
    return least(values, candidates)


def least(values: Sequence[float], trials: Sequence[FrozenTrial]) -> FrozenTrial:
    """The trial with the least value, the earliest of equals; what is no number is worse than any.

    Args:
        values: of the trials, in their order.
        trials: at least one.

    Raises:
        StudyError: no value is finite.
    """
    if not any(map(math.isfinite, values)):
        raise StudyError("its value is a number for no trial")
    ordered = zip((math.inf if math.isnan(value) else value for value in values), trials, strict=True)
    return min(ordered, key=lambda pair: (pair[0], pair[1].number))[1]
