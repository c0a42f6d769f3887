import math

import optuna
import pytest
from optuna.trial import TrialState
from torch import nn

from hpo_gn.checkpoint import Checkpoints
from hpo_gn.errors import HoldClosedError, NonFiniteError
from hpo_gn.failures import DIVERGED
from hpo_gn.trial import Outcome, Start, TrialRun


class Training:
    """Trains nothing, and raises in the epochs it is told to."""

    def __init__(self, raises_at):
        self.model, self.epoch, self.raises_at = nn.Identity(), 0, raises_at

    def run_epoch(self):
        self.epoch += 1
        if self.epoch == self.raises_at:
            raise NonFiniteError("the loss is nan")


class Hold:
    """A hold that is lost, or not."""

    def __init__(self, lost=False):
        self.lost = lost

    def charge(self, epoch):
        pass

    def record(self, epoch, *, training_s, measuring_s):
        pass

    def confirm(self):
        if self.lost:
            raise HoldClosedError("lost")


def run(folder, values, *, raises_at=None, hold=None):
    """A trial whose objective has these values, and its outcome."""
    trial = optuna.create_study().ask()
    trial_run = TrialRun(
        build=lambda _: Training(raises_at),
        splits={},
        measures=lambda _training, _epoch: (),
        objective=lambda history: values[len(history) - 1],
        checkpoints=Checkpoints(folder),
        interrupted=lambda: False,
    )
    return trial, lambda: trial_run(trial, hold or Hold(), Start(), len(values))


@pytest.mark.parametrize(
    ("values", "raises_at", "reason"),
    [
        ([1.0, math.inf, 0.0], None, "diverged at epoch 2: objective is inf"),
        ([1.0, 0.5, 0.0], 2, "diverged at epoch 2: the loss is nan"),
    ],
)
def test_a_trial_that_diverged_says_in_which_epoch(tmp_path, values, raises_at, reason):
    trial, start = run(tmp_path, values, raises_at=raises_at)
    assert start() == Outcome(TrialState.FAIL, reason=reason, diverged=2)
    assert trial.user_attrs[DIVERGED] == 2


def test_one_that_did_not_says_nothing(tmp_path):
    trial, start = run(tmp_path, [1.0, 0.5])
    assert start() == Outcome(TrialState.COMPLETE, 0.5)
    assert DIVERGED not in trial.user_attrs


def test_who_lost_the_trial_does_not_write_on_it(tmp_path):
    trial, start = run(tmp_path, [math.nan], hold=Hold(lost=True))
    with pytest.raises(HoldClosedError):
        start()
    assert DIVERGED not in trial.user_attrs
