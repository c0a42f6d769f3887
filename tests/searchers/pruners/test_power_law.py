"""Which curves lead nowhere."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpo_gn.errors import ArgumentError
from hpo_gn.fidelity import EPOCHS
from hpo_gn.searchers.pruners.power_law import PowerLawPruner


def curve(final: float, epochs: Iterable[int], last: int = 16, c: float = 0.7) -> dict[int, float]:
    """An exact power law that reaches a value at the last of the epochs, counted from 1."""
    return {epoch: final + 0.5 * (epoch**-c - last**-c) for epoch in epochs}


def study_of(*finals: float, direction: str = "minimize", last: int = 16, first: int = 1) -> optuna.Study:
    study = optuna.create_study(direction=direction)
    sign = -1 if direction == "maximize" else 1
    for final in finals:
        values = {k - 1 + first: sign * v for k, v in curve(final, range(1, last + 1), last).items()}
        study.add_trial(
            create_trial(state=TrialState.COMPLETE, value=sign * final, intermediate_values=values)
        )
    return study


def running(values: dict[int, float], **attributes: Any) -> FrozenTrial:
    return create_trial(state=TrialState.RUNNING, intermediate_values=values, user_attrs=attributes)


EIGHT = [0.3 + 0.01 * k for k in range(8)]


@pytest.mark.parametrize(
    ("final", "top", "pruned"),
    [
        (0.29, 1, False),
        (0.3, 1, False),
        (0.305, 1, True),
        (0.305, 2, False),
        (0.325, 3, True),
        (9.0, 8, True),
    ],
)
@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_a_trial_may_end_among_the_best(final, top, pruned, direction):
    sign = -1 if direction == "maximize" else 1
    trial = running({epoch: sign * value for epoch, value in curve(final, range(1, 6)).items()})
    decided = PowerLawPruner(top=top).prune(study_of(*EIGHT, direction=direction), trial)
    assert type(decided) is bool
    assert decided is pruned


@pytest.mark.parametrize(
    ("study", "values", "pruned"),
    [
        (lambda: study_of(*EIGHT), curve(0.9, range(1, 5)), True),
        (lambda: study_of(*EIGHT), curve(0.9, range(1, 4)), False),  # too few points
        (lambda: study_of(*EIGHT[:7]), curve(0.9, range(1, 5)), False),  # too few trials
        (lambda: study_of(*EIGHT), curve(0.9, range(1, 17)), False),  # it has ended
        (lambda: study_of(*EIGHT), {}, False),
        (lambda: optuna.create_study(), curve(0.9, range(1, 5)), False),
        (lambda: study_of(*EIGHT), curve(0.9, [3, 6, 9, 12]), True),
        (lambda: study_of(*EIGHT), dict(reversed(curve(0.9, range(1, 5)).items())), True),
    ],
)
def test_it_needs_points_and_trials_to_compare_with(
    study: Callable[[], optuna.Study], values: dict[int, float], pruned: bool
):
    assert PowerLawPruner().prune(study(), running(values)) is pruned


def test_a_rough_curve_is_followed_longer():
    noise = 0.05 * np.random.default_rng(0).standard_normal(16)
    rough = [value + noise[epoch - 1] for epoch, value in curve(0.6, range(1, 17)).items()]
    study, pruner = study_of(*EIGHT), PowerLawPruner()
    decided = [pruner.prune(study, running(dict(enumerate(rough[:n], 1)))) for n in range(4, 16)]
    assert decided.index(True) > 1
    assert all(decided[-3:])


@pytest.mark.parametrize(("confidence", "pruned"), [(0.6, True), (0.999, False)])
def test_more_confidence_follows_longer(confidence, pruned):
    noise = 0.02 * np.random.default_rng(1).standard_normal(16)
    rough = {epoch: value + noise[epoch - 1] for epoch, value in curve(0.42, range(1, 9)).items()}
    assert PowerLawPruner(confidence=confidence).prune(study_of(*EIGHT), running(rough)) is pruned


def test_a_leader_goes_on_whatever_its_curve():
    study = study_of(*EIGHT)
    rising = {epoch: 0.1 * epoch for epoch in range(1, 5)}
    flat = dict.fromkeys(range(1, 5), 0.41)  # the best trial ends at 0.3, but had 0.42 at epoch 4
    assert not PowerLawPruner().prune(study, running(rising))
    assert not PowerLawPruner().prune(study, running(flat))
    assert PowerLawPruner().prune(study, running(dict.fromkeys(range(1, 8), 0.41)))


def test_a_curve_that_rises_is_continued_as_its_mean():
    trial = running({epoch: 1.0 + 0.2 * epoch for epoch in range(1, 6)})
    assert PowerLawPruner().reason(study_of(*EIGHT), trial).startswith("its curve leads to 1.6 ±")


@pytest.mark.parametrize(
    ("pruner", "attributes", "last"),
    [
        (PowerLawPruner(), {}, 16),
        (PowerLawPruner(), {EPOCHS: 64}, 64),
        (PowerLawPruner(epochs=100), {EPOCHS: 64}, 100),
    ],
    ids=["longest", "assigned", "argument"],
)
def test_the_last_epoch_is_the_arguments_or_the_trials_or_the_longest_trials(pruner, attributes, last):
    trial = running(curve(0.6, range(1, 9)), **attributes)
    assert f" at epoch {last}, " in pruner.reason(study_of(*EIGHT), trial)


def test_steps_from_0_are_epochs_from_1():
    values = {epoch - 1: value for epoch, value in curve(0.6, range(1, 9)).items()}
    from_0 = PowerLawPruner().reason(study_of(*EIGHT, first=0), running(values))
    assert from_0.startswith("its curve leads to 0.6 ±")
    assert " at epoch 16, " in from_0
    ended = {epoch - 1: value for epoch, value in curve(0.6, range(1, 17)).items()}
    assert not PowerLawPruner().prune(study_of(*EIGHT, first=0), running(ended))


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_left_out(odd):
    study, pruner, values = study_of(*EIGHT), PowerLawPruner(), curve(0.9, range(1, 8))
    assert pruner.prune(study, running(values | {3: odd}))
    assert not pruner.prune(study, running(values | {7: odd}))
    assert not pruner.prune(study, running(values | dict.fromkeys(range(1, 5), odd)))


@pytest.mark.parametrize("size", [1e155, 1e308])
def test_values_too_large_to_square_are_no_reason(size):
    values = {epoch: size / epoch for epoch in range(1, 8)}
    assert not PowerLawPruner().prune(study_of(*EIGHT), running(values))


def test_completed_trials_without_reports_do_not_hurt():
    study = optuna.create_study()
    study.add_trials([create_trial(state=TrialState.COMPLETE, value=value) for value in EIGHT])
    values = curve(0.9, range(1, 8))
    assert not PowerLawPruner().prune(study, running(values))  # no last epoch is known
    assert not PowerLawPruner(epochs=16).prune(study, running(values))  # nobody was ahead


def test_the_reason_says_where_the_curve_leads():
    pruner, trial = PowerLawPruner(), running(curve(0.9, range(1, 8)))
    reason = pruner.reason(study_of(*EIGHT, direction="maximize"), running({k: -k for k in range(1, 8)}))
    assert reason.endswith(" at epoch 16, and the best trial reached -0.3")
    assert pruner.reason(study_of(), trial) == "its curve has not been continued"
    reason = PowerLawPruner(top=3).reason(study_of(*EIGHT), trial)
    assert reason.startswith("its curve leads to 0.9 ±")
    assert reason.endswith(" at epoch 16, and the best 3 trials reached 0.32")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epochs": 0}, "epochs must be an integer of at least 1, got 0"),
        ({"epochs": 1.0}, "epochs must be an integer of at least 1, got 1.0"),
        ({"top": 0}, "top must be an integer of at least 1, got 0"),
        ({"min_points": 3}, "min_points must be an integer of at least 4, got 3"),
        ({"n_startup_trials": -1}, "n_startup_trials must be an integer of at least 0, got -1"),
        ({"confidence": 0.5}, "confidence must be between 0.5 and 1, got 0.5"),
        ({"confidence": 1}, "confidence must be between 0.5 and 1, got 1"),
        ({"confidence": math.nan}, "confidence must be between 0.5 and 1, got nan"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ArgumentError) as error:
        PowerLawPruner(**arguments)
    assert str(error.value) == message
