"""Recorded runs shown to a pruner as a search would show them: epoch by epoch, in rounds, in a real study.

A run that is given up costs the epochs that it had; nothing is trained. As in a search, the trials of a round
are proposed together and only while the budget pays for all their epochs, see nothing of each other, and give
back what they do not use.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import optuna
from optuna.pruners import BasePruner
from optuna.trial import TrialState

from hpo_gn.fidelity import EPOCHS, ROUND
from hpo_gn.history import write_row
from hpo_gn.pruning import EarlierRounds
from hpo_gn.recorded import RecordedRun


@dataclass(frozen=True)
class Replayed:
    """How a run ended.

    Args:
        run: which.
        epochs: what it cost.
        given_up: whether the pruner ended it.
    """

    run: RecordedRun
    epochs: int
    given_up: bool

    @property
    def completed(self) -> bool:
        """Whether it was trained to the end."""
        return self.run.completed and not self.given_up


def replay(
    runs: Sequence[RecordedRun],
    pruner: BasePruner,
    *,
    name: str,
    epochs: int,
    round_size: int = 8,
    budget: float = math.inf,
) -> list[Replayed]:
    """Show runs to a pruner, in this order, until there are no more or the budget does not pay for one.

    Args:
        runs: recorded.
        pruner: a fresh one.
        name: of the study, which Hyperband draws from.
        epochs: of a run that is trained to the end.
        round_size: trials proposed together.
        budget: in epochs.
    """
    study = _new_study(EarlierRounds(pruner), name)
    waiting, replayed = iter(runs), list[Replayed]()
    left, number = budget, 0
    while count := int(min(round_size, left // epochs)):
        number += 1
        proposed = _propose(study, islice(waiting, count), epochs, number)
        ended = [_follow(run, trial) for run, trial in proposed]
        left -= sum(each.epochs for each in ended)
        replayed += ended
        if len(ended) < count:
            break
    return replayed


def _new_study(pruner: BasePruner, name: str) -> optuna.Study:
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.create_study(study_name=name, sampler=optuna.samplers.RandomSampler(), pruner=pruner)
    finally:
        optuna.logging.set_verbosity(verbosity)


def _propose(
    study: optuna.Study, runs: Iterator[RecordedRun], epochs: int, number: int
) -> list[tuple[RecordedRun, optuna.Trial]]:
    pairs = []
    for run in runs:
        trial = study.ask()
        trial.set_user_attr(EPOCHS, epochs)
        trial.set_user_attr(ROUND, number)
        pairs.append((run, trial))
    return pairs


def _follow(run: RecordedRun, trial: optuna.Trial) -> Replayed:
    for epoch, row in enumerate(run.history.rows, 1):
        write_row(trial, epoch, dict(row))
        if not math.isfinite(row["val_loss"]):
            break
        trial.report(row["val_loss"], epoch)
        if trial.should_prune():
            trial.study.tell(trial, state=TrialState.PRUNED)
            return Replayed(run, epoch, given_up=True)
    if run.completed:
        trial.study.tell(trial, run.history.last("val_loss"))
    else:
        trial.study.tell(trial, state=TrialState.FAIL)
    return Replayed(run, run.epochs, given_up=False)
