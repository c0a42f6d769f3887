from dataclasses import dataclass

import optuna
import pytest
from optuna.trial import TrialState

from hpo_gn.comparison.incumbents import Moment, Price, find_incumbents, moments_of
from hpo_gn.fidelity import EPOCHS
from hpo_gn.history import write_row
from hpo_gn.judging import choose
from hpo_gn.objectives import AgnVal, RankSum, ValLoss


@dataclass
class Ran:
    loss: float
    agn: float = 1.0
    epochs: int = 2
    state: TrialState = TrialState.COMPLETE


def trials_of(*runs):
    study = optuna.create_study()
    for run in runs:
        trial = study.ask()
        trial.set_user_attr(EPOCHS, run.epochs)
        for epoch in range(1, run.epochs + 1):
            row = {"val_loss": run.loss, "val_accuracy": 1 - run.loss / 10, "agn": run.agn}
            write_row(trial, epoch, row)
        study.tell(trial, run.loss if run.state == TrialState.COMPLETE else None, state=run.state)
    return study.trials


def moments(count, epochs=2, seconds=0.5):
    """Of trials that cost the same each."""
    return [Moment(number, epochs * (number + 1), seconds * (number + 1)) for number in range(count)]


def test_trials_end_in_the_order_of_their_numbers_and_what_has_no_price_cost_nothing():
    prices = {0: Price(2, 0.5), 2: Price(3, 0.25)}
    assert list(moments_of([2, 0, 1], prices)) == [Moment(0, 2, 0.5), Moment(1, 2, 0.5), Moment(2, 5, 0.75)]


def test_each_better_one_is_an_incumbent_at_what_was_spent_by_then():
    trials = trials_of(Ran(5), Ran(7), Ran(3), Ran(3), Ran(2))
    found = find_incumbents(ValLoss(), reversed(trials), moments(5))
    assert [(each.trial, each.epochs, each.seconds) for each in found] == [
        (0, 2, 0.5),
        (2, 6, 1.5),
        (4, 10, 2.5),
    ]
    assert [each.value for each in found] == [5, 3, 2]
    assert found[-1].val_loss == 2
    assert found[-1].val_accuracy == pytest.approx(0.8)


def test_what_was_not_completed_costs_and_is_never_the_best():
    lost = [Ran(1, state=TrialState.FAIL), Ran(0, state=TrialState.PRUNED)]
    found = find_incumbents(ValLoss(), trials_of(*lost, Ran(5)), moments(3))
    assert [(each.trial, each.epochs) for each in found] == [(2, 6)]
    assert find_incumbents(ValLoss(), trials_of(*lost), moments(2)) == ()


def test_a_longer_run_takes_the_place_of_better_shorter_ones():
    trials = trials_of(Ran(1, epochs=2), Ran(4, epochs=4), Ran(2, epochs=2), Ran(3, epochs=4))
    found = find_incumbents(ValLoss(), trials, moments(4))
    assert [each.trial for each in found] == [0, 1, 3]


def test_an_objective_that_compares_trials_is_asked_anew():
    trials = trials_of(Ran(1, 9), Ran(2, 8), Ran(3, 2), Ran(2.5, 1), Ran(9, 0.5), Ran(1.5, 0.1))
    objective = RankSum()
    found = find_incumbents(objective, trials, moments(6))
    expected = []
    for count in range(1, 7):
        best = choose(objective, trials[:count]).number
        if not expected or expected[-1] != best:
            expected.append(best)
    assert [each.trial for each in found] == expected
    assert len(expected) > 2


def test_the_last_is_the_one_that_the_objective_chooses():
    trials = trials_of(Ran(1, 900), Ran(1.1, 1), Ran(1.2, 0.1))
    for objective in (ValLoss(), AgnVal(alpha=1e-2), RankSum()):
        assert find_incumbents(objective, trials, moments(3))[-1].trial == choose(objective, trials).number
