"""What is read off a trial, against the scores of its History epoch by epoch."""

import math

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial

from hpo_gn.errors import StudyError
from hpo_gn.fidelity import EPOCHS
from hpo_gn.history import History
from hpo_gn.measures.early_success import EarlySuccess, expected_accuracy, s_f, s_o, s_s
from hpo_gn.searchers.pruners._past import Past, comparable, score_at, spectra_at, tells

PARAMETERS = EarlySuccess(t0=3)
INF, NAN = math.inf, math.nan


def random_rows(seed: int, epochs: int) -> list[dict[str, float]]:
    random = np.random.default_rng(seed)
    return [
        {
            "spectrum:0": random.uniform(1, 64),
            "spectrum_width:0": 64.0,
            "spectrum:1": random.uniform(1, 16),
            "spectrum_width:1": 16.0,
            "val_accuracy": random.uniform(),
        }
        for _ in range(epochs)
    ]


def complete(value: float, values: dict[int, float], rows: dict[int, dict[str, float]]):
    attributes = {f"hpo_gn:epoch:{epoch}": row for epoch, row in rows.items()}
    return create_trial(value=value, intermediate_values=values, user_attrs=attributes)


def read(trial, signal="value", direction="minimize") -> Past:
    return Past.of(optuna.create_study(direction=direction), trial, signal, PARAMETERS)


@pytest.mark.parametrize("seed", range(5))
def test_scores_are_those_of_the_history_up_to_the_epoch(seed):
    history = History(random_rows(seed, 7))
    s_fv_past, s_f_past = (
        read(complete(0.5, {}, dict(enumerate(history.rows, 1))), signal) for signal in ("s-fv", "s-f")
    )
    assert list(s_fv_past.signals) == [1, 2, 3, 4, 5, 6, 7]
    assert list(s_f_past.signals) == [2, 3, 4, 5, 6, 7]
    assert list(s_f_past.spectra) == [3, 4, 5, 6, 7]
    for epoch in range(1, 8):
        upto = history.upto(epoch)
        assert s_fv_past.signals[epoch] == 1 - expected_accuracy(upto, PARAMETERS)
        if epoch > 1:
            assert s_f_past.signals[epoch] == -s_f(upto, PARAMETERS.within(upto))
        if epoch > 2:
            spectra = s_f_past.spectra[epoch]
            assert (spectra.steepness, spectra.shift) == (s_o(upto, PARAMETERS), s_s(upto, PARAMETERS))
    assert s_f_past.end == s_f_past.spectra[7]


@pytest.mark.parametrize(("direction", "sign"), [("minimize", 1), ("maximize", -1)])
def test_values_are_costs(direction, sign):
    past = read(complete(0.5, {4: 0.5, 1: 2.0, 2: NAN, 3: INF}, {}), direction=direction)
    assert past.cost == sign * 0.5
    assert past.costs == past.signals == past.standing == {1: sign * 2.0, 2: INF, 3: INF, 4: sign * 0.5}
    assert past.spectra == {}
    assert past.end is None


@pytest.mark.parametrize(
    ("values", "standing"),
    [
        ({1: 0.5, 2: 0.4, 3: 0.3, 4: 0.2}, [0.5, 0.4, 0.3, 0.2]),
        ({0: 0.5, 1: 0.4, 2: 0.3, 3: 0.2}, [0.5, 0.4, 0.3, 0.2]),
        ({2: 0.4, 4: 0.2}, [INF, 0.4, 0.4, 0.2]),
        ({4: 0.2, 2: 0.4}, [INF, 0.4, 0.4, 0.2]),
        ({}, [INF] * 4),
    ],
)
def test_where_a_run_stood_at_each_epoch(values, standing):
    past = read(complete(0.5, values, dict(enumerate(random_rows(0, 4), 1))), "s-fv")
    assert past.standing == dict(enumerate(standing, 1))


def test_rows_beyond_a_gap_say_nothing_and_the_end_is_not_known():
    rows = dict(enumerate(random_rows(0, 6), 1))
    del rows[5]
    past = read(complete(0.5, {}, rows), "s-fv")
    assert list(past.signals) == [1, 2, 3, 4]
    assert past.end is None


@pytest.mark.parametrize(
    "change",
    [
        {"val_accuracy": NAN},
        {"spectrum:0": NAN, "spectrum:1": 3.0},
        {"spectrum:0": INF},
        {"spectrum:1": -INF},
    ],
    ids=str,
)
def test_what_is_not_a_number_has_no_score(change):
    rows = random_rows(0, 4)
    rows[3] |= change
    past = read(complete(0.5, {}, dict(enumerate(rows, 1))), "s-fv")
    assert list(past.signals) == [1, 2, 3]


def test_layers_that_change_have_no_score_until_the_window_is_past_them():
    rows = random_rows(0, 7)
    for row in rows[3:]:
        for layer in "01":
            row[f"spectrum:new{layer}"] = row.pop(f"spectrum:{layer}")
            row[f"spectrum_width:new{layer}"] = row.pop(f"spectrum_width:{layer}")
    past = read(complete(0.5, {}, dict(enumerate(rows, 1))), "s-f")
    assert list(past.signals) == [2, 3, 6, 7]
    with pytest.raises(StudyError):
        s_f(History(rows).upto(5), PARAMETERS)


def test_there_is_no_score_of_nothing():
    for signal in ("value", "s-fv", "s-f"):
        assert score_at(signal, History(), 0, None, PARAMETERS) is None
    assert spectra_at(History(), 0, PARAMETERS) is None
    assert spectra_at(History([{"val_accuracy": 0.5}] * 4), 4, PARAMETERS) is None


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([], {"value"}),
        ([{"val_loss": 1.0}], {"value"}),
        ([{"val_accuracy": 1.0}], {"value"}),
        ([{"spectrum_width:0": 4.0}], {"value"}),
        ([{"spectrum:0": 1.0}], {"value", "s-f"}),
        ([{"spectrum:0": 1.0, "val_accuracy": 1.0}, {}], {"value", "s-f", "s-fv"}),
    ],
)
def test_what_a_history_tells(rows, told):
    assert {signal for signal in ("value", "s-fv", "s-f") if tells(signal, History(rows))} == told


@pytest.mark.parametrize(
    ("attributes", "found"),
    [({EPOCHS: 4}, [1]), ({EPOCHS: 2}, [0]), ({EPOCHS: 3}, []), ({}, [1, 4])],
)
def test_runs_of_as_many_epochs_are_comparable(attributes, found):
    study = optuna.create_study()

    def add(steps: int, state: TrialState = TrialState.COMPLETE, **said: int) -> None:
        values = dict.fromkeys(range(1, steps + 1), 0.5)
        value = 0.5 if state == TrialState.COMPLETE else None
        study.add_trial(create_trial(state=state, value=value, intermediate_values=values, user_attrs=said))

    add(2, **{EPOCHS: 2})
    add(4, **{EPOCHS: 4})
    add(4, TrialState.PRUNED, **{EPOCHS: 4})
    add(9, TrialState.FAIL)
    add(4)
    add(0)
    trial = create_trial(state=TrialState.RUNNING, user_attrs=attributes)
    assert [each.number for each in comparable(study, trial)] == found
    assert comparable(optuna.create_study(), trial) == []
