"""Who goes on after the first epoch."""

import math

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from hpo_gn.errors import ArgumentError
from hpo_gn.searchers.pruners.one_epoch import OneEpochPruner

NAN, INF = math.nan, math.inf


def study_of(*curves: dict[int, float], state: TrialState = TrialState.PRUNED) -> optuna.Study:
    """A minimizing study whose trials have reported these values."""
    study = optuna.create_study()
    for curve in curves:
        value = list(curve.values())[-1] if state == TrialState.COMPLETE else None
        study.add_trial(create_trial(state=state, value=value, intermediate_values=curve))
    return study


def verdict(study: optuna.Study, curve: dict[int, float], pruner: OneEpochPruner) -> bool:
    trial = create_trial(state=TrialState.RUNNING, intermediate_values=curve)
    decided = pruner.prune(study, trial)
    assert type(decided) is bool
    return decided


FIRST = [{1: 0.5}, {1: 0.4}, {1: 0.3}]


@pytest.mark.parametrize(
    ("others", "curve", "pruned"),
    [
        ([], {1: 9.0}, False),
        (FIRST[:2], {1: 9.0}, False),
        (FIRST, {1: 0.6}, True),
        (FIRST, {1: 0.5}, False),  # ties go on
        (FIRST, {1: 0.35}, False),
        (FIRST, {1: NAN}, True),
        (FIRST, {1: INF}, True),
        (FIRST, {1: -INF}, True),
        ([{1: NAN}, {1: INF}, {1: 0.3}], {1: 9.0}, False),
        ([{1: NAN}] * 3, {1: NAN}, False),
        (FIRST, {}, False),  # nothing to judge
        (FIRST, {0: 9.0}, False),  # not yet there
        (FIRST, {1: 0.6, 2: 0.6}, False),  # decided before
        ([{3: 0.5}, {3: 0.4}, {3: 0.3}], {3: 0.6}, True),  # the first report after the step
        ([{3: 0.5}, {3: 0.4}, {3: 0.3}], {3: 0.6, 6: 0.6}, False),
        ([{1: 0.5, 3: 0.5}, {1: 0.4}, {1: 0.3}], {3: 0.6}, False),  # only the same step compares
    ],
)
@pytest.mark.parametrize("state", [TrialState.PRUNED, TrialState.RUNNING])
def test_the_best_three_go_on(others, curve, pruned, state):
    assert verdict(study_of(*others, state=state), curve, OneEpochPruner()) is pruned


@pytest.mark.parametrize(("top", "pruned"), [(1, True), (2, True), (3, True), (4, False)])
def test_as_many_as_asked_for_go_on(top, pruned):
    assert verdict(study_of(*FIRST), {1: 0.6}, OneEpochPruner(top=top)) is pruned


def test_it_waits_for_the_epochs_asked_for():
    pruner = OneEpochPruner(top=1, epochs=4)
    others = study_of({1: 0.1, 4: 0.1})
    assert not verdict(others, {1: 0.5}, pruner)
    assert verdict(others, {1: 0.5, 4: 0.5}, pruner)


def test_the_greatest_go_on_where_values_are_maximized():
    study = optuna.create_study(direction="maximize")
    for value in (0.5, 0.6, 0.7):
        study.add_trial(create_trial(state=TrialState.PRUNED, intermediate_values={1: value}))
    assert verdict(study, {1: 0.4}, OneEpochPruner())
    assert not verdict(study, {1: 0.5}, OneEpochPruner())
    assert verdict(study, {1: NAN}, OneEpochPruner())


def test_a_failed_trial_holds_nobodys_place():
    assert not verdict(study_of(*FIRST, state=TrialState.FAIL), {1: 0.6}, OneEpochPruner())


def test_a_long_stream_goes_on_with_records_alone():
    study = optuna.create_study(pruner=OneEpochPruner(top=2), sampler=optuna.samplers.RandomSampler(seed=0))

    def objective(trial: optuna.Trial) -> float:
        quality = trial.suggest_float("quality", 0.0, 1.0)
        for epoch in range(1, 5):
            trial.report(quality, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return quality

    study.optimize(objective, n_trials=60)
    seen: list[float] = []
    for trial in study.trials:
        seen.append(trial.params["quality"])
        kept = trial.params["quality"] <= sorted(seen)[:2][-1]
        assert (trial.state == TrialState.COMPLETE) is kept
        assert trial.last_step == (4 if kept else 1)


def test_the_reason_says_what_was_seen():
    pruner, study = OneEpochPruner(), study_of(*FIRST)
    trial = create_trial(state=TrialState.RUNNING, intermediate_values={1: 0.93, 2: 0.9})
    assert pruner.reason(study, trial) == "at epoch 1 its value was 0.93, with 3 better so far"
    trial = create_trial(state=TrialState.RUNNING)
    assert pruner.reason(study, trial) == "it has reported nothing from epoch 1 on"


@pytest.mark.parametrize("name", ["top", "epochs"])
@pytest.mark.parametrize("value", [0, -1, 1.5, True, "3", None])
def test_arguments_are_positive_integers(name, value):
    with pytest.raises(ArgumentError, match=f"^{name} must be an integer of at least 1, got {value!r}$"):
        OneEpochPruner(**{name: value})
