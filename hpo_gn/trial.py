"""One trial: hold → charge → train an epoch → measure → record → report → prune → checkpoint → settle."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
import torch
from optuna.trial import FrozenTrial, TrialState

from hpo_gn.budget import Hold
from hpo_gn.checkpoint import Checkpoint, Checkpoints
from hpo_gn.errors import CheckpointError, NonFiniteError
from hpo_gn.history import History, write_row
from hpo_gn.measures import Batches, Measure, Row, Samples, Split, cross_entropy, measure, read_in_training
from hpo_gn.training import Training, can_resume

REASON = "hpo_gn:reason"
"""Trial attribute that says why a trial ended before its epochs did."""


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
    """How a trial ended."""

    state: TrialState
    value: float | None = None
    reason: str | None = None


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

        Raises:
            HoldClosedError: the lease lapsed, so the trial is another worker's now and nothing was reported.
            TrialInterruptedError: the worker was asked to stop.
            CheckpointError: the checkpoint does not fit the training.
        """
        training = self._training(trial, start)
        history = start.history
        for epoch, row in enumerate(history.rows, 1):
            write_row(trial, epoch, row)
        for epoch in range(start.epoch + 1, epochs + 1):
            try:
                row = self._epoch(training, hold, epoch)
            except NonFiniteError as error:
                return Outcome(TrialState.FAIL, reason=f"diverged at epoch {epoch}: {error}")
            history = history.with_row(row)
            write_row(trial, epoch, row)
            if outcome := self._judge(trial, history):
                return outcome
            self._save(trial, training, epoch)
            if epoch < epochs and self.interrupted():
                raise TrialInterruptedError
        return Outcome(TrialState.COMPLETE, self.objective(history))

    def _judge(self, trial: optuna.Trial, history: History) -> Outcome | None:
        value, epoch = self.objective(history), len(history)
        if value is None:
            return None
        if not math.isfinite(value):
            return Outcome(
                TrialState.FAIL, reason=f"diverged at epoch {epoch}: {_worst(history.rows[-1], value)}"
            )
        _report(trial, value, epoch)
        return Outcome(TrialState.PRUNED, value, f"pruned at epoch {epoch}") if trial.should_prune() else None

    def _training(self, trial: optuna.Trial, start: Start) -> Training:
        training = self.build(trial)
        if start.state is not None:
            try:
                training.load_state_dict(start.state)  # type: ignore[attr-defined]  # it was saved by state_dict
            except (RuntimeError, KeyError, ValueError, AttributeError) as error:
                first = str(error).strip().splitlines()[0]
                raise CheckpointError(
                    f"the checkpoint of trial {trial.number} is of another model: {first}"
                ) from None
        return training

    def _epoch(self, training: Training, hold: Hold, epoch: int) -> Row:
        hold.charge(epoch)
        measures = self.measures(training, epoch)
        began = _clock()
        with read_in_training(training.model, measures):
            training.run_epoch()
        trained = _clock()
        loss = getattr(training, "loss", cross_entropy)
        row = measure(training.model, self.splits, measures, loss=loss)
        hold.record(epoch, training_s=trained - began, measuring_s=_clock() - trained)
        return row

    def _save(self, trial: optuna.Trial, training: Training, epoch: int) -> None:
        if can_resume(training):
            self.checkpoints.save(trial.number, Checkpoint(epoch, training.state_dict()))  # type: ignore[attr-defined]


def _clock() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def _report(trial: optuna.Trial, value: float, epoch: int) -> None:
    # An epoch that a dead worker reported already is run again after its checkpoint; Optuna keeps the first
    # report and warns.
    if epoch not in trial.study._storage.get_trial(trial._trial_id).intermediate_values:
        trial.report(value, epoch)


def _worst(row: Mapping[str, float], value: float) -> str:
    wrong = {name: number for name, number in row.items() if not math.isfinite(number)}
    name, number = next(iter(wrong.items()), ("objective", value))
    return f"{name} is {number}"
