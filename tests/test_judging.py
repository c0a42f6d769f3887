import math
from dataclasses import dataclass

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from hpo_gn.errors import StudyError
from hpo_gn.fidelity import EPOCHS
from hpo_gn.history import History, write_row
from hpo_gn.judging import choose, completed, least, values_of
from hpo_gn.objectives import Objective, RelativeObjective, ValLoss


@dataclass(frozen=True)
class Places:
    """By the place of the validation loss, the middle one first."""

    measures = ()

    def __call__(self, history):
        return history.last("val_loss")

    def among(self, histories):
        losses = sorted(history.last("val_loss") for history in histories)
        middle = losses[len(losses) // 2]
        return [abs(history.last("val_loss") - middle) for history in histories]


def trials(*losses, epochs=None):
    study = optuna.create_study()
    for number, loss in enumerate(losses):
        trial = study.ask()
        if loss is None:
            study.tell(trial, state=TrialState.FAIL)
            continue
        write_row(trial, 1, {"val_loss": loss})
        trial.set_user_attr(EPOCHS, 1 if epochs is None else epochs[number])
        study.tell(trial, 0.0)
    return study.get_trials(deepcopy=False)


def test_a_plain_objective_judges_each_history_by_itself():
    histories = [History([{"val_loss": loss}]) for loss in (0.5, 0.3)]
    assert values_of(ValLoss(), histories) == [0.5, 0.3]


def test_a_relative_objective_judges_them_among_each_other():
    assert isinstance(Places(), RelativeObjective)
    assert isinstance(ValLoss(), Objective)
    assert not isinstance(ValLoss(), RelativeObjective)
    histories = [History([{"val_loss": loss}]) for loss in (0.5, 0.3, 0.1)]
    assert values_of(Places(), histories) == pytest.approx([0.2, 0.0, 0.2])


@pytest.mark.parametrize(("objective", "number"), [(ValLoss(), 2), (Places(), 1)])
def test_the_choice_does_not_depend_on_the_values_that_were_searched_by(objective, number):
    assert choose(objective, trials(0.5, 0.3, 0.1)).number == number


def test_the_earliest_of_equals_is_chosen_and_failures_are_not():
    assert choose(ValLoss(), trials(None, 0.4, 0.3, 0.3)).number == 2


def test_only_trials_of_the_most_epochs_are_candidates():
    found = trials(0.1, 0.3, 0.2, epochs=(1, 2, 2))
    assert [trial.number for trial in completed(found)] == [1, 2]
    assert choose(ValLoss(), found).number == 2


def test_what_is_no_number_is_worse_than_any():
    assert choose(ValLoss(), trials(math.nan, 0.5, math.inf)).number == 1


@pytest.mark.parametrize("values", [[math.nan], [math.inf, math.nan], [-math.inf]])
def test_without_a_finite_value_nothing_is_chosen(values):
    with pytest.raises(StudyError, match="its value is a number for no trial"):
        least(values, trials(*[0.1] * len(values)))


@pytest.mark.parametrize("found", [[], [create_trial(state=TrialState.PRUNED, value=0.1)]])
def test_without_completed_trials_nothing_is_chosen(found):
    with pytest.raises(StudyError, match="no trial was completed"):
        choose(ValLoss(), found)
