"""One trial: hold → charge → train an epoch → measure → record → report → prune → checkpoint → settle."""

import math
import reprlib
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
import torch
from optuna.trial import FrozenTrial, TrialState

from hpo_gn.budget import Hold
from hpo_gn.checkpoint import Checkpoint, Checkpoints
from hpo_gn.errors import CheckpointError, NonFiniteError
from hpo_gn.failures import DIVERGED, TrialFailedError, as_number, describe, one_line, users_code
from hpo_gn.history import History, write_row
from hpo_gn.measures import Batches, Measure, Row, Samples, Split, cross_entropy, measure, read_in_training
from hpo_gn.pruning import GIVEN_UP
from hpo_gn.training import Training, can_resume

REASON = "hpo_gn:reason"
"""Trial attribute that says why a trial ended before its epochs did."""
ERROR = "hpo_gn:error"
"""Trial attribute: what its own code did wrong, which ended it."""
TRACEBACK = "hpo_gn:traceback"
"""Trial attribute: where in its own code."""


class TrialInterruptedError(Exception):
    """The worker was asked to stop; the trial goes on from its checkpoint another time."""


@dataclass(frozen=True)
class Start:
    """Where a trial starts: after `epoch` epochs, with that state and history."""

    epoch: int = 0
    state: Mapping[str, Any] | None = None
    history: History = field(default_factory=History)


@dataclass(frozen=True)
class Outcome:
    """How a trial ended.

    Args:
        state: in Optuna's terms.
        value: of the objective.
        reason: why it ended early.
        diverged: the epoch in which it diverged, where that is why.
    """

    state: TrialState
    value: float | None = None
    reason: str | None = None
    diverged: int | None = None


def find_start(
    trial: FrozenTrial, parent: FrozenTrial | None, checkpoints: Checkpoints, epochs: int
) -> Start:
    """Where a trial can start: its own last checkpoint, else the last of the trial it continues, else from
    nothing.

    Args:
        trial: the trial.
        parent: the trial whose configuration it continues, or None.
        checkpoints: of the study.
        epochs: the trial's epochs.
    """
    for source in (trial, parent):
        if source is None:
            continue
        history = History.of(source)
        found = checkpoints.latest(source.number, upto=min(epochs, len(history)))
        if found is not None:
            return Start(found.epoch, found.state, history.upto(found.epoch))
    return Start()


@dataclass(frozen=True)
class TrialRun:
    """Runs trials of one study.

    Args:
        build: a trial's training from its configuration, at its beginning.
        splits: what is measured on.
        measures: which measures, given the training's model and the epoch.
        objective: value of a history; None while there is none to report.
        checkpoints: of the study.
        interrupted: asked after every epoch; True stops the trial, to be continued later.
    """

    build: Callable[[optuna.Trial], Training]
    splits: Mapping[Split, Batches | Samples]
    measures: Callable[[Training, int], Sequence[Measure]]
    objective: Callable[[History], float | None]
    checkpoints: Checkpoints
    interrupted: Callable[[], bool]

    def __call__(self, trial: optuna.Trial, hold: Hold, start: Start, epochs: int) -> Outcome:
        """Run a trial's epochs from where it starts, each charged to its hold before it runs.

        Whatever the training, a measure or the objective raises, or gives that is no number, fails the trial
        and nothing else.

        Raises:
            HoldClosedError: the lease lapsed, so the trial is another worker's now and nothing was reported.
            TrialInterruptedError: the worker was asked to stop.
            CheckpointError: the checkpoint does not fit the training, or the place of checkpoints is away.
        """
        self.checkpoints.rewind(trial.number, start.epoch)
        try:
            outcome = self._run(trial, hold, start, epochs)
        except optuna.TrialPruned as error:
            return Outcome(TrialState.PRUNED, reason=describe(error))
        except TrialFailedError as error:
            hold.confirm()  # who lost the trial must not write on it
            trial.set_user_attr(ERROR, error.reason)
            if error.traceback is not None:
                trial.set_user_attr(TRACEBACK, error.traceback)
            return Outcome(TrialState.FAIL, reason=error.reason)
        if outcome.diverged is not None:
            hold.confirm()
            trial.set_user_attr(DIVERGED, outcome.diverged)
        return outcome

    def _run(self, trial: optuna.Trial, hold: Hold, start: Start, epochs: int) -> Outcome:
        training = self._training(trial, start)
        keep = _Keeper(self.checkpoints, training)
        history = start.history
        for epoch, row in enumerate(history.rows, 1):
            write_row(trial, epoch, row)
        value = None
        if start.epoch == epochs:  # only its verdict is missing
            value = self._value(history)
            if outcome := judge(trial, history, value, epochs):
                return outcome
        for epoch in range(start.epoch + 1, epochs + 1):
            try:
                row = self._epoch(training, hold, epoch)
            except NonFiniteError as error:
                return diverged(epoch, str(error))
            history = history.with_row(row)
            write_row(trial, epoch, row)
            value = self._value(history)
            if outcome := judge(trial, history, value, epochs):
                return outcome
            keep(trial.number, epoch)
            if epoch < epochs and self.interrupted():
                raise TrialInterruptedError
        return Outcome(TrialState.COMPLETE, as_number(value))

    def _value(self, history: History) -> float | None:
        with users_code():
            value = self.objective(history)
            return None if value is None else as_number(value)

    def _training(self, trial: optuna.Trial, start: Start) -> Training:
        with users_code():
            training = self.build(trial)
        if start.state is not None:
            try:
                with users_code():
                    training.load_state_dict(start.state)  # type: ignore[attr-defined]  # it was saved by state_dict
            except TrialFailedError as error:
                raise CheckpointError(
                    f"the checkpoint of trial {trial.number} is of another model: {error.reason}"
                ) from None
        return training

    def _epoch(self, training: Training, hold: Hold, epoch: int) -> Row:
        hold.charge(epoch)
        with users_code(NonFiniteError):
            measures = self.measures(training, epoch)
            began = _clock()
            with read_in_training(training.model, measures):
                training.run_epoch()
            trained = _clock()
            loss = getattr(training, "loss", cross_entropy)
            row = measure(training.model, self.splits, measures, loss=loss)
            measured = _clock()
        if strange := [name for name in row if not isinstance(name, str)]:
            raise TrialFailedError(
                one_line(f"a measure's column must be named by a string, got {strange[0]!r}")
            )
        hold.record(epoch, training_s=trained - began, measuring_s=measured - trained)
        return row


class _Keeper:
    """Saves a trial's checkpoints. One that cannot be written, as on a full disk, is warned of once: days of
    search weigh more than epochs that may have to be repeated.
    """

    def __init__(self, checkpoints: Checkpoints, training: Training) -> None:
        self._checkpoints, self._training, self._warned = checkpoints, training, False

    def __call__(self, trial: int, epoch: int) -> None:
        if not can_resume(self._training):
            return
        with users_code():
            state = self._training.state_dict()  # type: ignore[attr-defined]  # can_resume
            if not isinstance(state, Mapping):
                raise TrialFailedError(one_line(f"state_dict must give a mapping, got {reprlib.repr(state)}"))
            try:
                self._checkpoints.save(trial, Checkpoint(epoch, dict(state)))
            except CheckpointError as error:
                self._warn(error)

    def _warn(self, error: CheckpointError) -> None:
        if not self._warned:
            warnings.warn(f"{error}; the trial goes on without", stacklevel=2)
        self._warned = True


def diverged(epoch: int, why: str) -> Outcome:
    """How a trial ends that diverged in an epoch."""
    reason = one_line(f"diverged at epoch {epoch}: {why}")
    return Outcome(TrialState.FAIL, reason=reason, diverged=epoch)


def judge(trial: optuna.Trial, history: History, value: float | None, epochs: int) -> Outcome | None:
    """Report the value of a trial's last epoch, and say whether the trial has to end with it.

    Args:
        trial: that runs.
        history: of its epochs so far.
        value: of the objective; None if it has none to report.
        epochs: of the whole trial.
    """
    if value is None:
        return None
    epoch = len(history)
    if not math.isfinite(value):
        return diverged(epoch, worst(history.rows[-1], value))
    seen = _report(trial, value, epoch)
    # A trial that runs epochs again, having no checkpoint, is judged by all that it reported. After the last
    # epoch there is nothing to save, and a result to lose.
    if seen >= epochs or not trial.should_prune():
        return None
    given_up = trial.user_attrs.get(GIVEN_UP, {})
    reason, at = given_up.get("reason", "pruned"), given_up.get("epoch", seen)
    return Outcome(TrialState.PRUNED, value, f"given up at epoch {at}: {reason}")


def _clock() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def _report(trial: optuna.Trial, value: float, epoch: int) -> int:
    """Report an epoch's value; the last epoch that was ever reported."""
    # An epoch that a dead worker reported already is run again after its checkpoint; Optuna keeps the first
    # report and warns.
    reported = trial.study._storage.get_trial(trial._trial_id).intermediate_values
    if epoch not in reported:
        trial.report(value, epoch)
    return max([epoch, *reported])


def worst(row: Mapping[str, float], value: float) -> str:
    """What of an epoch is no finite number: the first such measure, else the objective's value."""
    wrong = {name: number for name, number in row.items() if not math.isfinite(number)}
    name, number = next(iter(wrong.items()), ("objective", value))
    return f"{name} is {number}"
