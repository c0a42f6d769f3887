"""Who is given up: against slow twins, by hand, and in anyone's studies."""

import copy
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpo_gn.errors import ArgumentError, UnknownNameError
from hpo_gn.fidelity import EPOCHS
from hpo_gn.history import History, write_row
from hpo_gn.measures import Accuracy, Spectrum
from hpo_gn.measures.early_success import EarlySuccess, expected_accuracy, s_f
from hpo_gn.pruning import EarlierRounds, careful
from hpo_gn.rounds import ROUND
from hpo_gn.searchers.pruners import give_up
from hpo_gn.searchers.pruners.give_up import GiveUpPruner

NAN, INF = math.nan, math.inf
SHORT = EarlySuccess(t0=2)
at_once = partial(GiveUpPruner, patience=1)
SIGNS = {"minimize": 1, "maximize": -1}
Values = Sequence[float] | Mapping[int, float]


@pytest.fixture(autouse=True)
def nothing_reported(monkeypatch):
    monkeypatch.setattr(careful, "_reported", set())


@pytest.fixture(params=SIGNS)
def direction(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def by_step(values: Values) -> dict[int, float]:
    return dict(values) if isinstance(values, Mapping) else dict(enumerate(values, 1))


def rows(spectra: Values, accuracies: Values = (), **columns: float) -> dict[str, dict[str, float]]:
    """Attributes of epochs with one layer of 64 features, and a validation accuracy where there is one."""
    accuracy = by_step(accuracies)
    return {
        f"hpo_gn:epoch:{epoch}": {"spectrum:0": value, "spectrum_width:0": 64.0}
        | ({"val_accuracy": accuracy[epoch]} if epoch in accuracy else {})
        | columns
        for epoch, value in by_step(spectra).items()
    }


def running(values: Values, **attributes: Any) -> FrozenTrial:
    return create_trial(state=TrialState.RUNNING, intermediate_values=by_step(values), user_attrs=attributes)


def numbered(trial: FrozenTrial, number: int) -> FrozenTrial:
    trial.number = number
    return trial


def finished(values: Values, **attributes: Any) -> FrozenTrial:
    """A complete trial whose value is its last report."""
    by = by_step(values)
    return create_trial(value=by[max(by)], intermediate_values=by, user_attrs=attributes)


def study_of(trials: Iterable[FrozenTrial] = (), direction: str = "minimize") -> optuna.Study:
    study = optuna.create_study(direction=direction)
    study.add_trials(list(trials))
    return study


def levels(*finals: float, epochs: int = 4) -> list[FrozenTrial]:
    """Complete trials that report `final` + 1 / epoch."""
    return [finished([final + 1 / epoch for epoch in range(1, epochs + 1)]) for final in finals]


def level(final: float, epochs: int) -> list[float]:
    return [final + 1 / epoch for epoch in range(1, epochs + 1)]


FIVE = (0.1, 0.2, 0.3, 0.4, 0.5)


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


STILL, MOVING = [4.0] * 8, [40.0 / epoch for epoch in range(1, 9)]
LATE = [40.0, 40.0, 20.0, 8.0, 4.0, 4.0, 4.0, 4.0]


def over(at: float, end: float, spectra: list[float] = STILL) -> FrozenTrial:
    """A complete run of 8 epochs with one value at epochs 1 to 4 and another after them."""
    return finished([at] * 4 + [end] * 4, **rows(spectra))


BAD = over(9.0, 9.0, MOVING)


@pytest.mark.parametrize(
    ("done", "cost", "spectra", "pruned"),
    [
        ([over(0.31, 0.3), over(0.32, 0.31), over(0.33, 0.32)], 0.45, STILL, True),
        ([over(0.31, 0.3), over(0.32, 0.31), over(0.33, 0.32)], 0.33, STILL, False),  # one of them with that
        ([over(0.31, 0.3), over(0.32, 0.31), over(0.33, 0.32)], 0.45, MOVING, False),  # not trained yet
        # Not as steep as the best in the end, as steep as one of them, steeper yet, less steep again.
        ([over(0.31, 0.3), over(0.32, 0.31), over(0.33, 0.32)], 0.45, [8.0] * 4, False),
        ([over(0.31, 0.3, [8.0] * 8), over(0.32, 0.31), over(0.33, 0.32)], 0.45, [8.0] * 4, True),
        ([over(0.31, 0.3), over(0.32, 0.31), over(0.33, 0.32)], 0.45, [4.0, 4.0, 4.0, 3.0], False),
        ([over(0.31, 0.3), over(0.32, 0.31), over(0.33, 0.32)], 0.45, [4.0, 4.0, 3.0, 4.0], False),
        # A step of the learning rate helped one later.
        ([*(over(v, v - 0.01) for v in (0.31, 0.32, 0.33)), over(0.52, 0.33)], 0.45, STILL, False),
        ([over(0.31, 0.3), over(0.32, 0.31), over(0.52, 0.32)], 0.45, STILL, False),
        ([over(0.31, 0.3), over(0.32, 0.31), over(0.52, 0.32)], 0.53, STILL, True),
        # One that came to nothing tells of no gain.
        ([*(over(v, v - 0.3, LATE) for v in (0.61, 0.62, 0.63)), *[over(INF, INF)] * 3], 0.65, STILL, False),
        ([over(0.31, 0.3), over(0.32, 0.31), over(0.33, 0.32), over(INF, INF)], 0.45, STILL, True),
        # Nobody can tell what runs that are over gain.
        ([over(0.31, 0.3, MOVING), over(0.32, 0.31), over(0.33, 0.32)], 0.45, STILL, False),
        # Those that are over would not overtake it, and the others have not yet.
        (
            [*(over(at, at - 0.3, LATE) for at in (0.61, 0.62, 0.63)), *[over(0.7, 0.7)] * 3],
            0.6,
            STILL,
            False,
        ),
        (
            [*(over(at, at - 0.3, LATE) for at in (0.61, 0.62, 0.63)), *[over(0.7, 0.7)] * 3],
            0.65,
            STILL,
            True,
        ),
    ],
)
def test_a_run_that_is_trained_already_and_will_not_be_one_of_the_best(done, cost, spectra, pruned):
    pruner, study = at_once(lenience=1.0, parameters=SHORT), study_of([*done, BAD])
    trial = running([cost] * 4, **rows(spectra[:4]))
    assert pruner.prune(study, trial) is pruned
    said = "it is trained already, and 3 finished runs are better than it can become"
    assert pruner.reason(study, trial) == (said if pruned else "it is not given up")


def test_trained_already_needs_a_full_window_and_rows_without_gaps():
    done = [over(0.31, 0.3), over(0.32, 0.31), over(0.33, 0.32), BAD]
    trial = running([0.45] * 4, **rows(STILL[:4]))
    assert at_once(lenience=1.0, parameters=EarlySuccess(t0=4)).prune(study_of(done), trial)
    assert not at_once(lenience=1.0, parameters=EarlySuccess(t0=5)).prune(study_of(done), trial)
    gap = running([0.45] * 4, **rows({1: 4.0, 2: 4.0, 4: 4.0}))
    assert not at_once(lenience=1.0, parameters=SHORT).prune(study_of(done), gap)
    silent = running({}, **rows(STILL[:4]))
    assert not at_once(signal="s-f", lenience=1.0, parameters=SHORT).prune(study_of(done), silent)


@pytest.mark.parametrize("signal", ["value", "s-fv", "s-f"])
@pytest.mark.parametrize("odd", [NAN, INF, -INF])
@pytest.mark.parametrize("where", ["value", "train_loss", "val_loss"])
def test_a_run_that_diverged_is_given_up_at_once(signal, odd, where):
    pruner, fine = at_once(signal=signal, checkpoints=[9]), {"val_accuracy": 0.5, "spectrum:0": 3.0}
    losses = {"train_loss": 0.5, "val_loss": 0.5} | ({} if where == "value" else {where: odd})
    trial = running([odd if where == "value" else 0.5], **{"hpo_gn:epoch:1": fine | losses})
    assert pruner.prune(study_of(), trial)
    assert pruner.reason(study_of(), trial) == "it diverged"
    healthy = running([0.5], **{"hpo_gn:epoch:1": fine | {"train_loss": 0.5, "val_loss": 0.5}})
    assert not pruner.prune(study_of(), healthy)


SPECTRA = [finished([1.0, 0.8, v], **rows([50, 30, 8], [0.3, 0.6, 1 - v])) for v in (0.1, 0.2, 0.3)]


@pytest.mark.parametrize("signal", ["s-fv", "s-f"])
def test_without_spectra_the_value_is_looked_at_with_one_warning(signal):
    pruner, study = at_once(signal=signal, parameters=SHORT), study_of(SPECTRA)
    bare = {"hpo_gn:epoch:1": {"val_accuracy": 0.5}}
    trials = [numbered(running([1.1], **bare), 7), running([1.1]), running([1.0], **bare)]
    with pytest.warns(UserWarning, match="looks at values") as heard:
        assert [pruner.prune(study, trial) for trial in trials] == [True, True, False]
    columns = {"s-fv": "val_accuracy and spectrum", "s-f": "spectrum"}[signal]
    assert [str(warning.message) for warning in heard] == [
        f"GiveUpPruner looks at values instead of {signal}: trial 7 has no columns {columns}"
    ]


def test_without_validation_accuracy_the_value_is_looked_at():
    pruner, study = at_once(signal="s-fv", parameters=SHORT), study_of(SPECTRA)
    with pytest.warns(UserWarning, match="values instead of s-fv"):
        assert pruner.prune(study, running([1.0, 0.9], **rows([50, 50])))
    assert not pruner.prune(study, running([1.0, 0.8], **rows([50, 50])))


@pytest.mark.parametrize("signal", ["s-fv", "s-f"])
@pytest.mark.parametrize(
    "attributes",
    [
        rows({1: 50.0, 3: 60.0}, [0.1] * 3),
        rows({2: 60.0, 3: 60.0}, [0.1] * 3),  # the first row is missing, so its History is empty
        rows([50.0], [0.1]) | {"hpo_gn:epoch:2": {"val_loss": 1.0}},  # not measured at this epoch
        rows([50.0], [0.1]) | {"hpo_gn:epoch:2": {"spectrum:9": 60.0, "spectrum_width:9": 64.0}},
        rows([50.0, 60.0], [0.1, NAN]) | {"hpo_gn:epoch:2": {"spectrum:0": NAN, "spectrum_width:0": 64.0}},
        rows([50.0], [0.1]) | {"hpo_gn:epoch:2": {"spectrum:0": 60.0, "spectrum_width:0": 128.0}},
    ],
    ids=["gap", "gap at first", "row without", "other layer", "not a number", "other width"],
)
def test_a_run_whose_rows_say_nothing_is_left_alone(signal, attributes):
    done = [finished(t.intermediate_values | {4: t.value}, **t.user_attrs) for t in SPECTRA]
    pruner = at_once(signal=signal, parameters=SHORT)
    steps = max(int(name.rsplit(":", 1)[1]) for name in attributes)
    assert not pruner.prune(study_of(done), running([9.0] * steps, **attributes))


def test_a_window_longer_than_the_run_is_cut():
    pruner, study = at_once(signal="s-f", parameters=EarlySuccess(t0=50)), study_of(SPECTRA)
    assert pruner.prune(study, running([1.0, 0.9], **rows([30, 50])))
    assert not pruner.prune(study, running([1.0, 0.9], **rows([50, 10])))


def test_finished_runs_that_lack_the_signal_do_not_count():
    done = [*levels(0.01, 0.02, 0.03, epochs=3), *SPECTRA[:2]]
    pruner, poor = at_once(signal="s-f", parameters=SHORT), running([1.0, 0.9], **rows([30, 50]))
    assert not pruner.prune(study_of(done), poor)
    assert pruner.prune(study_of([*done, SPECTRA[2]]), poor)


def grid(kept: int, lost: int) -> list[FrozenTrial]:
    """The best are the best from the beginning, in the order of their final values, and so are the others."""
    return levels(*(0.001 * k for k in range(kept + lost)), epochs=3)


@pytest.mark.parametrize(("count", "pruned"), [(61, False), (62, True)])
def test_a_level_of_5_percent_takes_59_runs_that_would_have_been_given_up(count, pruned):
    pruner = at_once(false_kills=0.05)
    trial = running(level(9.0, 2))
    assert pruner.prune(study_of(grid(3, count - 3)), trial) is pruned
    assert at_once().prune(study_of(grid(3, count - 3)), trial)


def test_until_a_level_is_met_only_what_diverged_is_given_up():
    done = [over(0.31, 0.3), over(0.32, 0.31), over(0.33, 0.32), BAD]
    pruner = at_once(false_kills=0.05, parameters=SHORT)
    assert not pruner.prune(study_of(done), running([0.45] * 4, **rows(STILL[:4])))
    assert pruner.prune(study_of(done), running([NAN]))


def test_a_level_that_needs_more_lenience_gets_it():
    """Which of the twenty good ones will win cannot be told at first, and the best three are the first."""
    slow = [finished([0.5 + 0.01 * (k * 7 % 20), 0.45, 0.01 * k]) for k in range(20)]
    rest = [finished([2.0 + 0.01 * k, 1.9, 1.8]) for k in range(80)]
    study, pruner = study_of([*slow, *rest]), at_once(false_kills=0.05)
    assert not pruner.prune(study, running([0.52]))
    assert pruner.prune(study, running([5.0]))


@pytest.mark.parametrize(
    ("told_at", "checkpoints", "pruned"),
    [(1, None, True), (2, None, True), (2, [1, 2], True), (2, [1], False), (3, None, False)],
)
def test_a_level_counts_what_the_rule_would_have_done_where_it_decides(told_at, checkpoints, pruned):
    """After the last epoch, which is the third, there is nothing to decide."""
    pruner = at_once(false_kills=0.05, checkpoints=checkpoints)
    meets = [finished([9.0 + k * (told_at == e) for e in (1, 2)] + [float(k)]) for k in range(70)]
    study, other = study_of(meets), study_of(grid(3, 67))
    assert pruner.prune(study, running([100.0])) is pruned
    assert pruner.prune(other, running([100.0]))  # as many runs, of which it has learned something else
    assert pruner.prune(study, running([100.0])) is pruned


def test_an_exception_inside_costs_no_run_and_is_warned_of_once(monkeypatch):
    def fail(*_: object) -> bool:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(give_up, "comparable", fail)
    study = optuna.create_study(pruner=GiveUpPruner(), sampler=optuna.samplers.RandomSampler(seed=0))
    with pytest.warns(UserWarning, match="a bug") as heard:
        study.optimize(train, n_trials=8)
    assert [str(warning.message) for warning in heard] == [
        "pruner GiveUpPruner: it failed with ZeroDivisionError: a bug; the trial goes on; "
        "this is not said again"
    ]
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 8
    assert all(trial.last_step == 4 for trial in study.trials)


def test_a_storage_that_is_away_is_none_of_its_mistakes(monkeypatch):
    study = study_of(levels(*FIVE))

    def away(*_: object, **__: object) -> list[FrozenTrial]:
        raise StorageInternalError("away")

    monkeypatch.setattr(study, "get_trials", away)
    with pytest.raises(StorageInternalError, match="away"):
        at_once().prune(study, running([9.0]))


def test_a_study_of_several_objectives_is_not_pruned():
    study = optuna.create_study(directions=["minimize", "minimize"])
    with pytest.warns(UserWarning, match="^pruner GiveUpPruner: a study of several objectives is not pruned"):
        assert not at_once().prune(study, running([NAN]))


def train(trial: optuna.Trial) -> float:
    """A user's training of 4 epochs, which reports a loss and records what the signals need."""
    quality = trial.suggest_float("quality", 0.0, 1.0)
    for epoch in range(1, 5):
        row = {"spectrum:0": 60 / epoch ** (1 - quality), "spectrum_width:0": 64.0}
        write_row(trial, epoch, row | {"val_accuracy": (1 - quality) * (1 - 0.5 / epoch)})
        trial.report(quality + 1 / epoch, epoch)
        if trial.should_prune():
            raise optuna.TrialPruned
    return quality + 1 / 4


@pytest.fixture(params=["memory", "sqlite"])
def storage(request, tmp_path):
    if request.param == "memory":
        yield optuna.storages.InMemoryStorage()
        return
    database = optuna.storages.RDBStorage(f"sqlite:///{tmp_path / 'study.db'}")
    yield database
    database.remove_session()
    database.engine.dispose()


@pytest.mark.parametrize("signal", ["value", "s-fv", "s-f"])
def test_a_users_study_with_two_threads(storage, signal):
    study = optuna.create_study(
        storage=storage,
        pruner=at_once(signal=signal, parameters=SHORT),
        sampler=optuna.samplers.RandomSampler(seed=1),
    )
    study.optimize(train, n_trials=10, n_jobs=2)
    states = [trial.state for trial in study.trials]
    assert states.count(TrialState.COMPLETE) + states.count(TrialState.PRUNED) == 10
    assert states.count(TrialState.PRUNED) >= 2
    best = min(study.trials, key=lambda trial: trial.params["quality"])
    assert best.state == TrialState.COMPLETE


def test_a_copy_is_the_same_one_so_that_rounds_read_finished_runs_once(monkeypatch):
    pruner, read = at_once(), []
    assert copy.deepcopy(pruner) is pruner
    of = give_up.Past.of
    monkeypatch.setattr(give_up.Past, "of", lambda *args: read.append(args[1].number) or of(*args))
    rounds = EarlierRounds(pruner)
    study = study_of(finished(level(f, 4), **{ROUND: 1}) for f in FIVE)
    for number in (2, 2, 3):
        trial = running(level(9.0, 2), **{ROUND: number})
        assert rounds.prune(study, trial)
    assert read == [0, 1, 2, 3, 4]
    assert not rounds.prune(study, running(level(9.0, 2), **{ROUND: 1}))


def test_studies_of_the_same_name_do_not_mix():
    pruner = at_once(false_kills=0.5)
    good, bad = (optuna.create_study(study_name="same") for _ in range(2))
    good.add_trials(levels(*(0.1 * k for k in range(9))))
    bad.add_trials(levels(*(7 + 0.1 * k for k in range(9))))
    assert pruner.prune(good, running(level(3.0, 2)))
    assert not pruner.prune(bad, running(level(3.0, 2)))
    assert pruner.prune(good, running(level(3.0, 2)))


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
