"""Pruners around a pruner: what they take, and whose name and reason they give."""

import optuna
import pytest
from optuna.pruners import MedianPruner, NopPruner

from hpo_gn.errors import ArgumentError
from hpo_gn.fidelity import ROUND
from hpo_gn.pruning import CarefulPruner, EarlierRounds, ShadowedPruner

WRAPPERS = [CarefulPruner, EarlierRounds, ShadowedPruner]


class ReasonedPruner(NopPruner):
    def reason(self, study, trial):
        return f"trial {trial.number} of {len(study.trials)}"


def study_of_two_rounds():
    study = optuna.create_study()
    for number in (1, 2, 2):
        study.ask().set_user_attr(ROUND, number)
    return study, study.trials[-1]


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize(
    ("wrong", "shown"), [(None, "None"), ("median", "'median'"), (MedianPruner, "<class")]
)
def test_only_a_pruner_can_be_wrapped(wrapper, wrong, shown):
    with pytest.raises(ArgumentError, match=f"^pruner must be an Optuna pruner, got {shown}"):
        wrapper(wrong)


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_name_and_reason_are_those_of_the_innermost_pruner(wrapper):
    study, trial = study_of_two_rounds()
    nested = wrapper(CarefulPruner(EarlierRounds(MedianPruner())))
    assert nested.name == nested.reason(study, trial) == "MedianPruner"


def test_a_reason_is_found_with_what_the_pruner_could_see():
    study, trial = study_of_two_rounds()
    assert CarefulPruner(ReasonedPruner()).reason(study, trial) == "trial 2 of 3"
    assert CarefulPruner(EarlierRounds(ReasonedPruner())).reason(study, trial) == "trial 2 of 2"
