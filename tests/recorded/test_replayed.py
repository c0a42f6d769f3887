import math
from dataclasses import dataclass, replace

import pytest

from hpo_gn import make_objective
from hpo_gn.comparison.result import CellResult, Incumbent, Labels
from hpo_gn.data import DataSet
from hpo_gn.fidelity import EPOCHS as EPOCHS_OF
from hpo_gn.history import History
from hpo_gn.judging import choose
from hpo_gn.measures import MeanLoss
from hpo_gn.recorded import replay
from hpo_gn.recorded.replayed import RECORDED_RUN
from tests.recorded.runs import EPOCHS, a_run, a_table
from tests.recorded.test_replay import (
    DIVERGED_RUNS,
    TABLE,
    experiment,
    falling,
    needs_hpbandster,
    trials_of,
    unused,
)

LABELS = Labels("val-loss", "random", "none", "mlp", "digits", 0)
TESTED = a_table(
    *(
        falling(number, 2.0 - number / 10, test_accuracy=(number / 20, 0.5), test_loss=(1.0, 2.0))
        for number in range(8)
    )
)


@dataclass(frozen=True)
class Middle:
    """The history whose loss is nearest to the mean of all is the best."""

    @property
    def measures(self):
        return (MeanLoss("validation"),)

    def __call__(self, history):
        return history.last("val_loss")

    def among(self, histories):
        losses = [history.last("val_loss") for history in histories]
        return [abs(loss - sum(losses) / len(losses)) for loss in losses]


def obvious_incumbents(replayed, objective):
    """What the objective chooses after each trial, looked at from scratch."""
    trials = trials_of(replayed)
    found = []
    for count in range(1, len(trials) + 1):
        best = choose(objective, trials[:count]).number
        if not found or found[-1][0] != best:
            found.append((best, replayed.moments[count - 1].spent, replayed.moments[count - 1].seconds))
    return found


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"objective": make_objective("agn-val", alpha=0.1)},
        {"objective": Middle()},
        pytest.param({"searcher": "bohb", "min_epochs": 1}, marks=needs_hpbandster),
    ],
    ids=["val-loss", "agn-val", "relative", "rungs"],
)
def test_incumbents_are_what_would_have_been_chosen_at_each_moment(settings):
    made = experiment(**settings)
    replayed = replay(made, TABLE, budget=11 * EPOCHS)
    found = [(each.trial, each.epochs, each.seconds) for each in replayed.incumbents]
    assert found == obvious_incumbents(replayed, made.objective)
    last = trials_of(replayed)[found[-1][0]]
    assert last.user_attrs[RECORDED_RUN] == replayed.chosen.number
    assert len(found) > 1


def test_an_incumbent_says_when_and_what_it_is():
    replayed = replay(experiment(), TESTED, budget=8 * EPOCHS)
    first = trials_of(replayed)[0]
    run = TESTED.runs[first.user_attrs[RECORDED_RUN]]
    assert replayed.incumbents[0] == Incumbent(
        trial=0,
        epochs=EPOCHS,
        seconds=EPOCHS * 2.625,
        value=run.val_loss,
        val_loss=run.val_loss,
        val_accuracy=run.history.last("val_accuracy"),
        test_accuracy=run.test_accuracy,
    )
    assert [each.value for each in replayed.incumbents] == sorted(
        {each.value for each in replayed.incumbents}, reverse=True
    )


@needs_hpbandster
def test_an_incumbent_of_few_epochs_has_what_it_had_after_them():
    replayed = replay(experiment(searcher="bohb", min_epochs=1), TABLE, budget=12)
    first = replayed.incumbents[0]
    trial = trials_of(replayed)[first.trial]
    assert trial.user_attrs[EPOCHS_OF] < EPOCHS
    assert first.val_loss == History.of(trial).last("val_loss")


@needs_hpbandster
def test_a_winner_by_few_epochs_whose_run_diverged_later_is_a_failure():
    runs = [
        a_run(n, 0.5 - n / 100, 0.4, reason="diverged at epoch 3: NaN", epochs=3, learning_rate=10**-n / 2)
        for n in range(4)
    ]
    replayed = replay(experiment(searcher="bohb", min_epochs=1), a_table(*runs), budget=5)
    found = replayed.result(LABELS)
    assert found.incumbents
    assert found.failed_retrainings == 1
    assert found.score == 0.25


def test_a_result_is_the_winners_and_travels_as_json():
    replayed = replay(experiment(), TESTED, budget=8 * EPOCHS)
    result = replayed.result(LABELS)
    assert result.params == TESTED.runs[7].params == replayed.chosen.params
    assert (result.test_accuracy, result.test_loss) == ((0.35, 0.5), (1.0, 2.0))
    assert result.incumbents[-1].test_accuracy == (0.35, 0.5)
    assert (result.replayed, result.budget, result.spent) == (True, 32, 32)
    assert (result.training_s, result.measuring_s) == (64.0, 20.0)
    assert (result.trials, result.chance, result.failure) == ({"complete": 8}, 0.25, None)
    assert CellResult.from_json(result.to_json()) == result


def test_without_a_winner_a_result_says_why_and_scores_as_chance():
    replayed = replay(experiment(), a_table(DIVERGED_RUNS[0]), budget=EPOCHS)
    result = replayed.result(LABELS)
    assert (result.failure, result.incumbents, result.params) == ("no trial was completed", (), {})
    assert (result.trials, result.test_accuracy, result.score) == ({"fail": 1}, (), 0.25)


FOUR_CLASSES = DataSet("mine", 4, unused)


@pytest.mark.parametrize(
    ("data", "chance"),
    [("digits", 0.1), ("cifar100", 0.01), (FOUR_CLASSES, 0.25), ("gone", 0), ("my.npz", 0), ("mine:data", 0)],
    ids=["registered", "of a hundred classes", "data set", "unknown", "file", "function"],
)
def test_without_a_majority_in_the_table_a_failure_counts_as_one_of_even_classes_or_as_nothing(data, chance):
    run = falling(0, 1.0)
    for row in run.history.rows:
        del row["train_majority"]
    diverged = replace(
        run, history=run.history.upto(1), epochs=2, reason="diverged at epoch 2: val_loss is nan"
    )
    made = replace(experiment(), data=data)
    result = replay(made, a_table(diverged), budget=EPOCHS).result(LABELS)
    assert (result.failure, result.chance, result.score) == ("no trial was completed", chance, chance)
    # A winner that nobody tested is no failure.
    assert math.isnan(replay(made, a_table(run), budget=EPOCHS).result(LABELS).score)


def test_a_run_that_was_not_timed_has_no_seconds_but_is_replayed():
    untimed = a_run(0, *[1.0] * EPOCHS, training_s=None, measuring_s=None)
    replayed = replay(experiment(), a_table(untimed), budget=EPOCHS)
    assert math.isnan(replayed.training_s)
    assert math.isnan(replayed.seconds)
    assert replayed.chosen.number == 0
