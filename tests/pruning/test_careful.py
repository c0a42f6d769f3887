"""A pruner that fails loses no trial, and is warned of once."""

import warnings

import numpy as np
import optuna
import pytest
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.pruners import BasePruner, MedianPruner
from optuna.trial import TrialState

from hpo_gn.pruning import CarefulPruner, ShadowedPruner, careful

STEPS = 4


@pytest.fixture(autouse=True)
def nothing_reported(monkeypatch):
    monkeypatch.setattr(careful, "_reported", set())


class SayingPruner(BasePruner):
    """Gives what it is told to, or raises it."""

    def __init__(self, answer, reason=""):
        self.answer, self.given_reason = answer, reason

    def prune(self, study, trial):
        return give(self.answer)

    def reason(self, study, trial):
        return give(self.given_reason)


class OtherPruner(SayingPruner):
    pass


def give(answer):
    if isinstance(answer, BaseException):
        raise answer
    return answer


def one_trial(directions=("minimize",)):
    study = optuna.create_study(directions=list(directions))
    return study, study._storage.get_trial(study.ask()._trial_id)


def objective(trial):
    x = trial.suggest_float("x", 0, 1)
    for step in range(STEPS):
        trial.report(x, step)
        if trial.should_prune():
            raise optuna.TrialPruned
    return x


@pytest.mark.parametrize(
    ("answer", "pruned"),
    [(True, True), (False, False), (np.True_, True), (np.bool_(False), False)],
    ids=repr,
)
def test_a_bool_is_passed_on_as_pythons(answer, pruned):
    assert CarefulPruner(SayingPruner(answer)).prune(*one_trial()) is pruned


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (ValueError("no such\nlayer"), "it failed with ValueError: no such layer; the trial goes on"),
        (optuna.TrialPruned(), "it failed with TrialPruned; the trial goes on"),
        (KeyError("x"), "it failed with KeyError: 'x'; the trial goes on"),
        (None, "it failed with TypeError: prune must give a bool, got None; the trial goes on"),
        (1, "it failed with TypeError: prune must give a bool, got 1; the trial goes on"),
        ("yes", "it failed with TypeError: prune must give a bool, got 'yes'; the trial goes on"),
    ],
    ids=repr,
)
def test_anything_else_lets_the_trial_go_on_and_is_said_once(answer, said):
    pruner, other = CarefulPruner(SayingPruner(answer)), CarefulPruner(OtherPruner(answer))
    study, trial = one_trial()
    asked = [pruner, CarefulPruner(SayingPruner(answer)), other, pruner]
    with pytest.warns(UserWarning, match="this is not said again") as heard:
        assert [each.prune(study, trial) for each in asked] == [False] * 4
    assert [str(warning.message) for warning in heard] == [
        f"pruner {name}: {said}; this is not said again" for name in ("SayingPruner", "OtherPruner")
    ]


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), StorageInternalError("away"), UpdateFinishedTrialError()], ids=repr
)
def test_what_is_not_the_pruners_mistake_passes(error):
    with pytest.raises(type(error)):
        CarefulPruner(SayingPruner(error)).prune(*one_trial())


def test_a_study_of_several_objectives_is_never_pruned():
    pruner = CarefulPruner(SayingPruner(True))
    several = one_trial(["minimize", "maximize"])
    with pytest.warns(UserWarning, match="SayingPruner: a study of several objectives is not pruned"):
        assert pruner.prune(*several) is False
    assert pruner.prune(*several) is False
    assert pruner.prune(*one_trial()) is True


def test_a_reason_that_fails_is_the_pruners_name():
    pruner = CarefulPruner(SayingPruner(True, reason=ValueError("none")))
    with pytest.warns(UserWarning, match="it failed with ValueError: none"):
        assert pruner.reason(*one_trial()) == "SayingPruner"


@pytest.mark.parametrize("wrap", [CarefulPruner, ShadowedPruner])
def test_a_study_loses_nothing_to_a_pruner_that_fails(wrap):
    study = optuna.create_study(
        sampler=optuna.samplers.RandomSampler(seed=0), pruner=wrap(SayingPruner(RuntimeError("a bug")))
    )
    with pytest.warns(UserWarning, match="it failed with RuntimeError: a bug") as heard:
        study.optimize(objective, n_trials=6)
    assert len(heard) == 1
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 6
    assert all(len(trial.intermediate_values) == STEPS for trial in study.trials)


def test_a_pruner_that_works_is_left_alone():
    def states(pruner):
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0), pruner=pruner)
        study.optimize(objective, n_trials=20)
        return [trial.state for trial in study.trials]

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = states(CarefulPruner(MedianPruner()))
    assert found == states(MedianPruner())
    assert {TrialState.PRUNED, TrialState.COMPLETE} == set(found)
