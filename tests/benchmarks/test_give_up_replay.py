import copy
import math
import random

import pytest
from optuna.pruners import BasePruner
from optuna.trial import TrialState

from benchmarks.give_up.replay import replay
from benchmarks.give_up.rivals import defaults, settings
from benchmarks.give_up.sweep import pool_of
from hpo_gn.fidelity import EPOCHS, ROUND
from hpo_gn.history import History
from hpo_gn.recorded import RecordedRun, RecordedTable

EPOCHS_EACH = 4


def a_run(number, *losses, reason=None):
    """A run with these validation losses; the accuracy falls with them."""
    rows = [
        {"val_loss": loss, "val_accuracy": 1 / (1 + loss), "spectrum:1": 3 + loss, "spectrum_width:1": 8}
        | {"agn": loss}
        for loss in losses
    ]
    return RecordedRun(number, {}, History(rows), max(1, len(rows)), reason)


def falling(number, last):
    return a_run(number, *(last + 1 / epoch - 1 / EPOCHS_EACH for epoch in range(1, EPOCHS_EACH + 1)))


def a_table(*runs):
    return RecordedTable({"experiment": {"epochs": EPOCHS_EACH}, "command": "hpo-gn search"}, runs)


FINALS = random.Random(0).sample([0.1 * n for n in range(1, 25)], 24)
DIVERGED = (a_run(24, reason="diverged at epoch 1"), a_run(25, 1.0, math.inf, reason="diverged"))
TABLE = a_table(*(falling(number, final) for number, final in enumerate(FINALS)), *DIVERGED)
"""24 runs whose curves do not cross, and two that diverged."""


class Seen(BasePruner):
    """Writes down what it is shown."""

    def __init__(self, verdict=lambda trial: False):
        self.verdict, self.calls = verdict, []

    def __deepcopy__(self, memo):
        return self

    def prune(self, study, trial):
        others = [each for each in study.get_trials() if each.number != trial.number]
        self.calls.append((copy.deepcopy(trial), others))
        return self.verdict(trial)


def replayed(runs, pruner, **settings):
    return replay(runs, pruner, name="a", epochs=EPOCHS_EACH, **settings)


def test_a_pruner_sees_epoch_by_epoch_what_a_search_would_show():
    pruner = Seen()
    replayed(TABLE.runs[:10], pruner)
    run = TABLE.runs[9]
    shown = [trial for trial, _ in pruner.calls if trial.number == 9]
    for epoch, trial in enumerate(shown, 1):
        assert History.of(trial) == run.history.upto(epoch)
        losses = run.history.column("val_loss")[:epoch]
        assert trial.intermediate_values == dict(enumerate(losses, 1))
        assert (trial.user_attrs[ROUND], trial.user_attrs[EPOCHS]) == (2, EPOCHS_EACH)
        assert trial.state == TrialState.RUNNING
    assert len(shown) == EPOCHS_EACH


def test_the_trials_of_a_round_do_not_see_each_other_and_earlier_ones_are_finished():
    pruner = Seen(lambda trial: trial.number == 1 and trial.last_step == 2)
    replayed([*TABLE.runs[:7], TABLE.runs[25], *TABLE.runs[8:12]], pruner)
    for trial, others in pruner.calls:
        assert [each.number for each in others] == (list(range(8)) if trial.number >= 8 else [])
    states = [each.state for each in pruner.calls[-1][1]]
    assert states == [TrialState.COMPLETE, TrialState.PRUNED, *[TrialState.COMPLETE] * 5, TrialState.FAIL]
    assert [each.value for each in pruner.calls[-1][1]][2] == TABLE.runs[2].history.last("val_loss")


def test_a_small_round_is_a_round():
    pruner = Seen(lambda trial: trial.user_attrs[ROUND] > 1)
    replayed(TABLE.runs, pruner, budget=8 * 4 + 2 * 4)
    rounds = {trial.number: trial.user_attrs[ROUND] for trial, _ in pruner.calls}
    assert list(rounds.values()) == [1] * 8 + [2, 2, 3, 4, 5]


def test_a_run_given_up_costs_its_epochs_and_one_that_diverged_those_it_had():
    pruner = Seen(lambda trial: trial.number == 1 and trial.last_step == 3)
    ended = replayed([TABLE.runs[0], TABLE.runs[1], TABLE.runs[24], TABLE.runs[25]], pruner)
    assert [(each.epochs, each.given_up, each.completed) for each in ended] == [
        (4, False, True),
        (3, True, False),
        (1, False, False),
        (2, False, False),
    ]
    assert [trial.last_step for trial, _ in pruner.calls if trial.number == 3] == [1]


@pytest.mark.parametrize(
    ("budget", "began"),
    [(3, 0), (4, 1), (33, 8), (8 * 4 + 2 * 4, 8 + 2 + 1 + 1 + 1), (8 * 4 + 3, 8)],
)
def test_a_budget_begins_only_what_it_can_pay_for_and_gets_back_what_is_saved(budget, began):
    pruner = Seen(lambda trial: trial.user_attrs[ROUND] > 1)
    assert len(replayed(TABLE.runs, pruner, budget=budget)) == began


def test_the_order_alone_decides():
    pool = pool_of(TABLE.runs, 12, seed=3)
    first, again = (replayed(pool, setting.make()) for setting in [next(settings(4, ["hyperband"]))] * 2)
    assert first == again
    assert pool == pool_of(TABLE.runs, 12, seed=3) != pool_of(TABLE.runs, 12, seed=5)
    assert not {run.number for run in pool} & {run.number for run in pool_of(TABLE.runs, 12, seed=4)}
    assert len(pool_of(TABLE.runs, 20, seed=3)) == 20


@pytest.mark.parametrize("setting", [*defaults(EPOCHS_EACH), *settings(EPOCHS_EACH)], ids=str)
def test_every_setting_can_be_replayed_and_loses_nothing_of_the_first_round(setting):
    ended = replayed(TABLE.runs, setting.make())
    assert len(ended) == len(TABLE.runs)
    assert all(each.completed for each in ended[:8])
