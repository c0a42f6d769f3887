"""Who is given up: against slow twins, and by hand."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.trial import FrozenTrial, TrialState

from hpo_gn.errors import ArgumentError, UnknownNameError
from hpo_gn.fidelity import EPOCHS
from hpo_gn.history import History
from hpo_gn.measures import Accuracy, Spectrum
from hpo_gn.measures.early_success import expected_accuracy, s_f
from hpo_gn.searchers.pruners.give_up import GiveUpPruner
from tests.give_up_runs import (
    FIVE,
    INF,
    NAN,
    SHORT,
    SIGNS,
    at_once,
    finished,
    level,
    levels,
    rows,
    running,
    study_of,
)


def random_trial(random: np.random.Generator, sign: int, epochs: int, **attributes: Any) -> FrozenTrial:
    """One whose spectra, accuracies and values say different things, with a report or two missing."""
    quality = random.uniform()
    spectra = 60 * np.cumprod(random.uniform(0.5, 1.05, 8))[:epochs]
    accuracies = np.clip(1 - quality + random.normal(0, 0.2, 8), 0.01, 0.99)[:epochs]
    values = sign * (quality + 1 / np.arange(1, 9) + random.normal(0, 0.1, 8))[:epochs]
    kept = {step: float(v) for step, v in enumerate(values, 1) if step == epochs or random.uniform() < 0.9}
    attributes |= rows([float(s) for s in spectra], [float(a) for a in accuracies])
    return finished(kept, **attributes) if epochs == 8 else running(kept, **attributes)


def twin(study: optuna.Study, trial: FrozenTrial, signal: str, best: int, top: int, sign: int) -> bool:
    """The first rule as its docstring says it, one trial and one epoch at a time."""

    def look(each: FrozenTrial, epoch: int) -> float | None:
        history = History.of(each).upto(epoch)
        if signal == "value":
            value = each.intermediate_values.get(epoch)
            return None if value is None else sign * value
        if signal == "s-fv":
            return 1 - expected_accuracy(history, SHORT)
        return -s_f(history, SHORT.within(history)) if epoch > 1 else None

    epoch = len(History.of(trial))
    score, cost = look(trial, epoch), sign * trial.intermediate_values[epoch]
    others = sorted(study.get_trials(states=(TrialState.COMPLETE,)), key=lambda each: sign * each.value)
    if score is None or cost <= sign * others[top - 1].value:
        return False
    there = [seen for each in others if (seen := look(each, epoch)) is not None][:best]
    return all(score > seen for seen in there)


@pytest.mark.parametrize("signal", ["value", "s-fv", "s-f"])
@pytest.mark.parametrize(("lenience", "top", "best"), [(0.25, 3, 4), (0.0, 2, 2), (0.7, 1, 10)])
def test_a_run_is_given_up_that_is_worse_than_each_of_the_best_there(direction, signal, lenience, top, best):
    sign, verdicts = SIGNS[direction], []
    pruner = at_once(signal=signal, lenience=lenience, top=top, parameters=SHORT)
    for seed in range(4):
        random = np.random.default_rng(seed)
        study = study_of([random_trial(random, sign, 8) for _ in range(14)], direction)
        for epochs in (1, 2, 3, 5, 7):
            trial = random_trial(random, sign, epochs)
            expected = twin(study, trial, signal, best, top, sign)
            reason = pruner.reason(study, trial)
            assert reason.startswith(f"its {signal} was worse than that of the best ") is expected
            assert pruner.prune(study, trial) is (reason != "it is not given up")
            verdicts.append(expected)
    assert 0 < sum(verdicts) < len(verdicts)


@pytest.mark.parametrize(
    ("arguments", "values", "pruned"),
    [
        ({}, level(0.31, 2), True),
        ({}, level(0.3, 2), False),  # as bad as the third best
        ({"lenience": 0.8}, level(0.31, 2), False),
        ({"lenience": 0.8}, level(0.41, 2), True),
        ({"lenience": 1.0}, level(0.5, 2), False),
        ({"top": 1, "lenience": 0.0}, level(0.11, 2), True),
        ({"top": 5, "lenience": 0.0}, level(0.41, 2), False),
        ({"top": 6}, level(9.0, 2), False),  # too few to compare with
        ({"n_startup_trials": 5}, level(9.0, 2), True),
        ({"n_startup_trials": 6}, level(9.0, 2), False),
        ({}, level(9.0, 1), True),
        ({}, level(9.0, 3), True),
        ({}, level(9.0, 4), False),  # nothing is left to save
        ({"checkpoints": [1, 3]}, level(9.0, 2), False),
        ({"checkpoints": [1, 3]}, level(9.0, 3), True),
        ({"checkpoints": ()}, level(9.0, 3), False),
        ({}, {}, False),
        ({}, {0: 9.0}, False),  # nobody reported there
        ({}, {1: 9.0, 3: 0.34}, False),
        ({}, {1: 0.1, 3: 9.0}, True),  # the last report counts
    ],
)
def test_value_by_hand(direction, arguments, values, pruned):
    sign = SIGNS[direction]

    def turned(trial: FrozenTrial) -> FrozenTrial:
        steps = {step: sign * value for step, value in trial.intermediate_values.items()}
        return finished(steps) if trial.state == TrialState.COMPLETE else running(steps)

    study = study_of([turned(trial) for trial in levels(*FIVE)], direction)
    assert at_once(**arguments).prune(study, turned(running(values))) is pruned


def test_one_of_the_best_already_goes_on_whatever_its_signal():
    study = study_of(finished([0.9, 0.5, v], **rows([60, 9, 2], [0.1, 0.8, 0.9])) for v in (0.1, 0.2, 0.3))
    pruner = at_once(signal="s-fv", parameters=SHORT)
    poor = rows([60, 60], [0.1, 0.1])
    assert not pruner.prune(study, running([0.9, 0.3], **poor))
    assert pruner.prune(study, running([0.9, 0.31], **poor))


def test_only_runs_of_as_many_epochs_are_compared():
    short = [finished([0.1, 0.05], **{EPOCHS: 2}) for _ in range(3)]
    long = [finished([0.5, 0.4, 0.1, 0.05], **{EPOCHS: 4}) for _ in range(3)]
    study = study_of([*short, *long])
    assert not at_once().prune(study, running([0.5], **{EPOCHS: 4}))
    assert at_once().prune(study, running([0.5], **{EPOCHS: 2}))
    assert not at_once().prune(study, running([9.0], **{EPOCHS: 3}))
    assert not at_once().prune(study, running([0.5]))  # the longest where nothing is said
    assert at_once().prune(study, running([0.6]))


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("every", [1, 2])
def test_steps_from_0_and_reports_that_are_rarer_than_epochs(first, every):
    def steps(values: list[float]) -> dict[int, float]:
        return {e - 1 + first: v for e, v in enumerate(values, 1) if e % every == 0}

    done = [finished(steps(level(f, 8)), **rows([40 / e for e in range(1, 9)], [1 - f] * 8)) for f in FIVE]
    for signal in ("value", "s-fv"):
        pruner, study = at_once(signal=signal, parameters=SHORT), study_of(done)
        for epochs in (2, 4):
            spectra = rows([40 / e for e in range(1, epochs + 1)], [0.2] * epochs)
            assert pruner.prune(study, running(steps(level(0.8, epochs)), **spectra))
            spectra = rows([40 / e for e in range(1, epochs + 1)], [0.75] * epochs)
            assert not pruner.prune(study, running(steps(level(0.25, epochs)), **spectra))


@pytest.mark.parametrize(
    ("signal", "threshold", "trial", "pruned"),
    [
        # One layer, S = 32 → 16 of 64 features: s_o = 64·2/48, s_s = 16/64.
        ("s-f", 0.25, running([1.0, 1.0], **rows([32, 16])), False),
        ("s-f", 0.25, running([1.0, 1.0], **rows([4, 4])), True),  # s_o = 16, s_s = 0: s_F = 0
        ("s-f", 0.25, running([1.0, 1.0], **rows([16, 32])), True),
        ("s-f", 0.25, running([1.0], **rows([16])), False),  # says nothing yet
        ("s-fv", 0.7, running([1.0, 1.0], **rows([4, 4], [0.9, 0.71])), False),
        ("s-fv", 0.7, running([1.0, 1.0], **rows([4, 4], [0.9, 0.69])), True),
        ("s-fv", 0.7, running([1.0, 1.0], **rows([64, 4], [0.9, 0.69])), False),  # it will rise
        ("value", 0.7, running([0.9, 0.69]), False),
        ("value", 0.7, running([0.1, 0.7]), True),
        ("value", 0.7, running({}), False),
    ],
)
def test_a_threshold_is_of_the_signal_and_needs_no_finished_runs(signal, threshold, trial, pruned):
    pruner = at_once(signal=signal, threshold=threshold, parameters=SHORT)
    assert pruner.prune(study_of(), trial) is pruned
    said = f"its {signal} was not better than {threshold}" if pruned else "it is not given up"
    assert pruner.reason(study_of(), trial) == said


def test_a_threshold_of_a_value_that_is_maximized():
    pruner, study = at_once(threshold=0.7), study_of(direction="maximize")
    assert pruner.prune(study, running([0.7]))
    assert not pruner.prune(study, running([0.71]))


def test_a_threshold_of_another_signal_is_none_of_a_value():
    """A loss of 2 would be "not better than 0.25", and every run be given up."""
    pruner, study = at_once(signal="s-f", threshold=0.25), study_of(levels(*FIVE))
    with pytest.warns(UserWarning, match="looks at values instead of s-f"):
        assert not pruner.prune(study, running(level(0.25, 2)))
    assert pruner.prune(study, running(level(0.8, 2)))


def test_what_a_signal_needs_recorded():
    assert GiveUpPruner().measures == ()
    assert GiveUpPruner(signal="s-fv").measures == (Accuracy("validation"), Spectrum())


@pytest.mark.parametrize(
    ("patience", "checkpoints", "values", "pruned"),
    [
        (1, None, [9.0], True),
        (2, None, [9.0], False),
        (2, None, [9.0, 9.0], True),
        (2, None, [0.5, 9.0], False),
        (2, None, [9.0, 0.9], True),  # the others are at 0.8 and better there
        (2, None, [9.0, 0.75], False),
        (2, [1, 3], [9.0, 0.1, 9.0], True),
        (2, [2, 3], [9.0, 0.5, 9.0], False),
        (3, None, [9.0, 9.0], False),
        (3, None, [9.0, 9.0, 9.0], True),
    ],
)
def test_a_run_must_be_worse_so_many_epochs_in_a_row(patience, checkpoints, values, pruned):
    pruner = GiveUpPruner(patience=patience, checkpoints=checkpoints)
    assert pruner.prune(study_of(levels(*FIVE)), running(values)) is pruned


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"patience": 0}, "patience must be an integer of at least 1, got 0"),
        ({"checkpoints": 5}, "checkpoints must be a sequence of epochs, got 5"),
        ({"lenience": -0.1}, "lenience must be from 0 to 1, got -0.1"),
        ({"lenience": 1.1}, "lenience must be from 0 to 1, got 1.1"),
        ({"lenience": NAN}, "lenience must be from 0 to 1, got nan"),
        ({"false_kills": 0}, "false_kills must be between 0 and 1, got 0"),
        ({"false_kills": 1}, "false_kills must be between 0 and 1, got 1"),
        ({"false_kills": NAN}, "false_kills must be between 0 and 1, got nan"),
        ({"threshold": NAN}, "threshold must be a finite number, got nan"),
        ({"threshold": INF}, "threshold must be a finite number, got inf"),
        ({"top": 0}, "top must be an integer of at least 1, got 0"),
        ({"top": 2.5}, "top must be an integer of at least 1, got 2.5"),
        ({"top": True}, "top must be an integer of at least 1, got True"),
        ({"n_startup_trials": 0}, "n_startup_trials must be an integer of at least 1, got 0"),
        ({"checkpoints": [3, 0]}, "checkpoints must be an integer of at least 1, got 0"),
        ({"checkpoints": [1.5]}, "checkpoints must be an integer of at least 1, got 1.5"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    with pytest.raises(ArgumentError, match=f"^{re.escape(message)}$"):
        GiveUpPruner(**arguments)


def test_a_signal_that_there_is_not():
    with pytest.raises(UnknownNameError) as raised:
        GiveUpPruner(signal="sfv")
    assert str(raised.value) == "no signal is called 'sfv'; did you mean 's-fv'?"


def curves(epochs: int) -> st.SearchStrategy[list[tuple[float, float]]]:
    """A cost and an S at each epoch."""
    point = st.tuples(st.integers(0, 20).map(float), st.sampled_from([1.0, 4.0, 8.0, 32.0]))
    return st.lists(point, min_size=epochs, max_size=epochs)


@st.composite
def studies(draw: Callable[..., Any]) -> tuple[list[FrozenTrial], list[tuple[float, float]]]:
    done = draw(st.lists(curves(5), min_size=3, max_size=10))
    trials = [finished([c for c, _ in run], **rows([s for _, s in run])) for run in done]
    return trials, draw(curves(5))


@given(studies(), st.integers(1, 4), st.floats(0, 1))
@settings(max_examples=60)
def test_the_run_that_is_best_at_every_epoch_is_never_given_up(found, top, lenience):
    done, run = found
    study, pruner = study_of(done), at_once(top=top, lenience=lenience, parameters=SHORT)
    costs = [min(each.intermediate_values[epoch] for each in done) for epoch in range(1, 6)]
    for epochs in range(1, 6):
        trial = running(costs[:epochs], **rows([s for _, s in run[:epochs]]))
        assert not pruner.prune(study, trial)


@given(studies(), st.integers(1, 4), st.floats(0, 1), st.floats(0, 1), st.sampled_from(["value", "s-f"]))
@settings(max_examples=60)
def test_more_lenience_never_gives_up_more(found, top, one, other, signal):
    done, run = found
    study, (less, more) = study_of(done), sorted((one, other))
    for epochs in range(1, 5):
        trial = running([c + 5 for c, _ in run[:epochs]], **rows([s for _, s in run[:epochs]]))
        strict, lenient = (
            at_once(signal=signal, top=top, lenience=each, parameters=SHORT).prune(study, trial)
            for each in (less, more)
        )
        assert strict or not lenient
