"""Who is retrained: the winner by an objective that judges each trial, or compares them."""

import optuna
import pytest
from optuna.trial import TrialState

from hpo_gn.errors import StudyError
from hpo_gn.fidelity import EPOCHS
from hpo_gn.judging import choose
from hpo_gn.objectives import OneDeviation, Pareto, RankSum, ValLoss
from hpo_gn.recipe import RECIPE
from hpo_gn.retraining import INDEX, ROLE, ROLES, WINNER_ALONE, count_trainings, find_winner, is_prepared
from hpo_gn.rounds import ROUNDS
from hpo_gn.trial import REASON


def study_of(*trials, state=TrialState.COMPLETE):
    study = optuna.create_study()
    for value, agn, epochs in trials:
        rows = {f"hpo_gn:epoch:{epoch}": {"val_loss": value, "agn": agn} for epoch in range(1, epochs + 1)}
        attributes = {**rows, EPOCHS: epochs, REASON: "why"}
        study.add_trial(optuna.create_trial(value=value, state=state, user_attrs=attributes))
    return study


TRIALS = [(0.01, 0.0, 1), (0.50, 9.0, 2), (0.51, 2.0, 2), (0.60, 1.0, 2), (0.70, 8.0, 2)]


@pytest.mark.parametrize(
    ("objective", "number", "value"),
    [
        (None, 1, 0.5),
        (ValLoss(), 1, 0.5),
        (RankSum(), 2, 4.0),
        (OneDeviation(0.1), 2, 0.0),
        (OneDeviation(0.3), 3, 0.0),
        (Pareto(), 2, pytest.approx(0.5 * ((0.01 / 0.1) ** 2 + (1 / 8) ** 2) ** 0.5)),
    ],
    ids=repr,
)
def test_it_is_the_best_of_those_with_the_most_epochs_and_has_its_value(objective, number, value):
    study = study_of(*TRIALS)
    winner = find_winner(study, objective)
    assert (winner.number, winner.value, winner.values) == (number, value, [value])
    assert winner.number == choose(objective or ValLoss(), study.get_trials()).number
    assert [trial.value for trial in study.get_trials()] == [trial[0] for trial in TRIALS]


def test_the_earliest_of_equals():
    study = study_of((0.5, 1.0, 2), (0.5, 1.0, 2))
    assert [find_winner(study, objective).number for objective in (ValLoss(), RankSum())] == [0, 0]


@pytest.mark.parametrize(
    ("recipe", "number"),
    [
        ({"objective": {"name": "rank-sum", "settings": {}}}, 2),
        ({"objective": {"name": "one-deviation", "settings": {"deviation": 0.3}}}, 3),
        ({"objective": {"name": "val-loss", "settings": {}}}, 1),
        ({"objective": {"name": "not-installed", "settings": {}}}, 1),
        (None, 1),
    ],
)
def test_a_study_says_by_what_objective(recipe, number):
    study = study_of(*TRIALS)
    study.set_user_attr(RECIPE, recipe)
    assert find_winner(study).number == number


def test_none_was_completed():
    study = study_of((0.5, 1.0, 2), (0.4, 1.0, 2), state=TrialState.PRUNED)
    with pytest.raises(StudyError, match=r"^none of the 2 trials was completed: why$"):
        find_winner(study, RankSum())


BOTH = [("winner", 0), ("winner", 1), ("initial", 0), ("initial", 1)]


@pytest.mark.parametrize(
    ("there", "seeds", "roles", "prepared", "trainings"),
    [
        ([], 1, WINNER_ALONE, False, 1),
        (BOTH[:1], 1, WINNER_ALONE, True, 1),
        (BOTH[:1], 1, ROLES, False, 2),
        (BOTH[:2], 1, ROLES, False, 3),
        (BOTH, 2, ROLES, True, 4),
        (BOTH, 2, WINNER_ALONE, True, 4),
        (BOTH, 1, ROLES, True, 4),
        (BOTH, 3, WINNER_ALONE, False, 5),
    ],
)
def test_it_is_prepared_if_every_role_is_there_with_every_seed(there, seeds, roles, prepared, trainings):
    study = optuna.create_study()
    study.set_user_attr(ROUNDS, 1)
    for role, index in there:
        study.add_trial(optuna.create_trial(value=0.0, user_attrs={ROLE: role, INDEX: index}))
    assert is_prepared(study, seeds, roles) is prepared
    assert count_trainings(study, seeds, roles) == trainings
