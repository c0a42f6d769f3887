"""Replays of tables made by hand, whose every number is known."""

import math
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec

import pytest
from ConfigSpace import ConfigurationSpace, Float, Integer
from optuna.pruners import BasePruner
from optuna.trial import TrialState

from hpo_gn import Experiment, make_objective
from hpo_gn.errors import ArgumentError, DataError, StudyError
from hpo_gn.failures import DIVERGED
from hpo_gn.fidelity import EPOCHS as EPOCHS_OF
from hpo_gn.fidelity import ROUND, continues
from hpo_gn.history import History
from hpo_gn.measures import MeanLoss
from hpo_gn.pruning import GIVEN_UP
from hpo_gn.recorded import replay
from hpo_gn.recorded.replayed import RECORDED_RUN
from hpo_gn.trial import ERROR, REASON
from tests.recorded.runs import COSTS, EPOCHS, a_run, a_table

needs_hpbandster = pytest.mark.skipif(find_spec("hpbandster") is None, reason="hpbandster is not installed")

SPACE = ConfigurationSpace(
    space=[
        Float("learning_rate", (1e-4, 1.0), log=True, default=1e-2),
        Integer("batch_size", (1, 64), default=32),
    ]
)


def unused(*_args, **_settings):
    raise AssertionError("nothing is trained")


experiment = partial(
    Experiment,
    "digits",
    SPACE,
    objective=make_objective("val-loss"),
    training=unused,
    searcher="random",
    epochs=EPOCHS,
    round_size=4,
)


def falling(number, last, **others):
    """A run that loses 0.1 an epoch until it ends with a loss."""
    losses = [last + 0.1 * (EPOCHS - epoch) for epoch in range(1, EPOCHS + 1)]
    return a_run(number, *losses, learning_rate=10 ** -(number % 5), batch_size=1 + number, **others)


TABLE = a_table(*(falling(number, 1.0 + number * 7 % 16 / 16) for number in range(16)))


def trials_of(replayed):
    return replayed.study.get_trials(deepcopy=False)


def test_it_spends_the_budget_on_runs_that_are_all_different():
    replayed = replay(experiment(), TABLE, budget=27)
    trials = trials_of(replayed)
    assert (replayed.spent, len(trials)) == (24, 6)
    runs = [trial.user_attrs[RECORDED_RUN] for trial in trials]
    assert len(set(runs)) == 6
    for trial, number in zip(trials, runs, strict=True):
        history = TABLE.runs[number].history
        assert (trial.state, trial.value) == (TrialState.COMPLETE, history.last("val_loss"))
        assert trial.intermediate_values == dict(enumerate(history.column("val_loss"), 1))
        assert History.of(trial) == history
        assert [row.costs for row in History.of(trial).rows] == [COSTS] * EPOCHS
        assert trial.user_attrs[EPOCHS_OF] == EPOCHS
    assert [trial.user_attrs[ROUND] for trial in trials] == [1, 1, 1, 1, 2, 2]
    assert trials[0].params == {"learning_rate": 1e-2, "batch_size": 32}
    assert replayed.chosen.val_loss == min(TABLE.runs[number].val_loss for number in runs)


@pytest.mark.parametrize("searcher", ["random", "cma-es", "tpe"])
def test_the_seed_alone_decides(searcher):
    def runs(seed, workers=1):
        replayed = replay(experiment(searcher=searcher, seed=seed), TABLE, budget=40, workers=workers)
        return [trial.user_attrs[RECORDED_RUN] for trial in trials_of(replayed)]

    assert runs(0) == runs(0) == runs(0, workers=3) != runs(1)


def test_the_seconds_are_those_of_what_the_objective_needs():
    alone = replay(experiment(), TABLE, budget=6 * EPOCHS)
    # Two seconds of training an epoch, and of measuring a pass over the validation split and the loss.
    assert (alone.training_s, alone.measuring_s) == (48.0, 24 * 0.625)
    assert alone.seconds == 24 * 2.625
    shared = replay(experiment(), TABLE, budget=6 * EPOCHS, workers=3)
    # A round of four has two for one worker, and a round of two one each.
    assert (shared.spent, shared.seconds) == (24, 3 * EPOCHS * 2.625)
    both = replay(experiment(objective=make_objective("agn-val")), TABLE, budget=EPOCHS)
    assert both.measuring_s == EPOCHS * (0.5 + 0.125 + 2.0 + 0.25)


def test_measuring_that_is_charged_is_paid_as_a_share_of_an_epoch():
    charged = replay(experiment(charge="measures"), TABLE, budget=60)
    trials = len(trials_of(charged))
    assert charged.spent == trials * EPOCHS * (1 + 320 / 1024)  # 0.625 / 2, rounded up to 1/1024
    free = replay(experiment(), TABLE, budget=60)
    assert trials < len(trials_of(free)) == 15
    # The first round sets an epoch aside for each epoch's measuring, and later ones a quarter too much.
    assert [trial.user_attrs[ROUND] for trial in trials_of(charged)][:8] == [1, 1, 1, 1, 2, 2, 2, 2]


class Patient(BasePruner):
    """Never gives up, but is asked."""

    def prune(self, study, trial):
        return False


class Second(BasePruner):
    """Gives up every trial but the first at its second epoch."""

    def prune(self, study, trial):
        return trial.number > 0 and trial.last_step == 2


def test_a_pruner_that_never_gives_up_changes_nothing():
    plain, asked = (
        replay(experiment(pruner=pruner), TABLE, budget=40) for pruner in (None, f"{__name__}:Patient")
    )
    assert [(t.state, t.params, t.values, t.user_attrs) for t in trials_of(plain)] == [
        (t.state, t.params, t.values, t.user_attrs) for t in trials_of(asked)
    ]


def test_what_a_pruner_saves_becomes_more_configurations():
    replayed = replay(experiment(pruner=f"{__name__}:Second", shadows=0.0), TABLE, budget=4 * EPOCHS)
    first, *others = trials_of(replayed)
    assert first.state == TrialState.COMPLETE
    assert {trial.state for trial in others} == {TrialState.PRUNED}
    assert all(len(History.of(trial)) == 2 == len(trial.intermediate_values) for trial in others)
    assert replayed.spent == EPOCHS + 2 * len(others)
    assert len(others) == 5  # 16 - 4 - 3 · 2 = 6 epochs are left, of which one trial needs 4, and then 4
    assert others[0].user_attrs[GIVEN_UP] == {"epoch": 2, "shadow": False, "reason": "Second"}
    assert others[0].user_attrs[REASON] == "given up at epoch 2: Second"
    assert replayed.chosen.number == first.user_attrs[RECORDED_RUN]


DIVERGED_RUNS = (
    a_run(0, 0.5, math.inf, reason="diverged at epoch 2: val_loss is inf"),
    a_run(1, 0.4, reason="diverged at epoch 2: NaN", epochs=2),
    a_run(2, reason="diverged at epoch 1: NaN", epochs=1, training_s=0.0, measuring_s=0.0),
    a_run(3, 0.3, 0.2, 0.1, reason="diverged at epoch 3: another objective is inf"),
)


@pytest.mark.parametrize(
    ("run", "rows", "reports"),
    [(DIVERGED_RUNS[0], 2, 1), (DIVERGED_RUNS[1], 1, 1), (DIVERGED_RUNS[2], 0, 0), (DIVERGED_RUNS[3], 3, 3)],
    ids=["infinite", "no row", "at once", "finite by this objective"],
)
def test_a_run_that_diverged_does_so_again_and_pays_for_no_more(run, rows, reports):
    replayed = replay(experiment(), a_table(run), budget=EPOCHS)
    (trial,) = trials_of(replayed)
    assert (trial.state, replayed.spent) == (TrialState.FAIL, run.epochs)
    assert (trial.user_attrs[DIVERGED], trial.user_attrs[REASON]) == (run.epochs, run.reason)
    assert (len(History.of(trial)), len(trial.intermediate_values)) == (rows, reports)
    with pytest.raises(StudyError, match="no trial was completed"):
        _ = replayed.chosen


@dataclass(frozen=True)
class Broken:
    """Reads what is there and fails on some runs."""

    @property
    def measures(self):
        return (MeanLoss("validation"),)

    def __call__(self, history):
        if history.last("val_loss") < 1.2:
            raise ZeroDivisionError
        return history.last("val_loss")


def test_an_objective_that_raises_fails_the_trial_as_in_a_search():
    replayed = replay(experiment(objective=Broken()), TABLE, budget=16 * EPOCHS)
    failed = [trial for trial in trials_of(replayed) if trial.state == TrialState.FAIL]
    assert len(failed) == sum(run.val_loss < 1.2 for run in TABLE.runs)
    assert {trial.user_attrs[ERROR] for trial in failed} == {"ZeroDivisionError"}


@needs_hpbandster
@pytest.mark.parametrize("from_scratch", [False, True])
def test_a_promoted_configuration_goes_on_in_its_run(from_scratch):
    made = experiment(searcher="bohb", min_epochs=1, from_scratch=from_scratch)
    replayed = replay(made, TABLE, budget=30)
    trials = trials_of(replayed)
    promoted = [trial for trial in trials if continues(trial) is not None]
    assert promoted
    for trial in promoted:
        parent = trials[continues(trial)]
        assert trial.params == parent.params
        assert trial.user_attrs[RECORDED_RUN] == parent.user_attrs[RECORDED_RUN]
        epochs, done = trial.user_attrs[EPOCHS_OF], parent.user_attrs[EPOCHS_OF]
        assert len(History.of(trial)) == epochs > done
        assert min(trial.intermediate_values) == (1 if from_scratch else done + 1)
    ran = sum(len(trial.intermediate_values) for trial in trials)
    assert replayed.spent == ran
    assert replayed.chosen.number in {
        trial.user_attrs[RECORDED_RUN] for trial in trials if trial.user_attrs[EPOCHS_OF] == EPOCHS
    }


UNTIMED = a_table(falling(3, 1.0, training_s=None, measuring_s=None))


@pytest.mark.parametrize(
    ("settings", "table", "arguments", "error", "message"),
    [
        ({}, TABLE, {"budget": 3}, ArgumentError, "budget must be at least 4, one trial's epochs, got 3"),
        ({"charge": "measures"}, TABLE, {"budget": 7}, ArgumentError, "budget must be at least 8, one"),
        ({"gpus": 2}, TABLE, {"budget": 7}, ArgumentError, "budget must be at least 8"),
        ({}, TABLE, {"budget": 0}, ArgumentError, "budget must be"),
        ({}, TABLE, {"budget": 8, "workers": 0}, ArgumentError, "workers must be"),
        ({}, a_table(), {"budget": 8}, DataError, "has no runs"),
        (
            {},
            TABLE,
            {"budget": 100},
            DataError,
            "all 16 recorded runs are used up after 64 of 100 GPU×epochs",
        ),
        ({"epochs": 5}, TABLE, {"budget": 8}, DataError, "have 4 epochs, not 5"),
        (
            {"charge": "measures"},
            UNTIMED,
            {"budget": 8},
            DataError,
            "run 3 has no seconds, so that measuring",
        ),
    ],
)
def test_what_cannot_be_replayed_is_refused_in_one_line(settings, table, arguments, error, message):
    with pytest.raises(error, match=message) as raised:
        replay(experiment(**settings), table, **arguments)
    assert "\n" not in str(raised.value)
