import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_gn.errors import ArgumentError, StudyError
from hpo_gn.history import History
from hpo_gn.measures import AGN, MeanLoss, OnlineAGN
from hpo_gn.objectives import AgnTrain, AgnVal
from hpo_gn.objectives._agn_term import UNFITTED
from hpo_gn.objectives._fit_gate import GATE

BOTH = pytest.mark.parametrize(("objective", "loss"), [(AgnTrain, "train_loss"), (AgnVal, "val_loss")])
finite = st.floats(0, 1e6)


@BOTH
@pytest.mark.parametrize(
    ("settings", "value"),
    [
        ({"alpha": 0.1}, 0.3 + 0.1 * 7),
        ({"alpha": 0.1, "normalized": True}, 0.3 + 0.1 * 3.5),
        ({"alpha": 0}, 0.3),
        ({}, 0.3 + 1e-4 * 7),
    ],
)
def test_it_adds_the_weighted_sum_over_epochs_to_the_last_loss(objective, loss, settings, value):
    history = History([{"agn": 5.0, loss: 0.8}, {"agn": 2.0, loss: 0.3}])
    assert objective(**settings)(history) == pytest.approx(value)


@given(
    rows=st.lists(st.tuples(finite, finite), min_size=1, max_size=20),
    alpha=st.floats(0, 10),
    normalized=st.booleans(),
)
def test_agn_val_is_the_direct_formula(rows, alpha, normalized):
    history = History({"agn": agn, "val_loss": loss} for agn, loss in rows)
    total = 0.0
    for agn, _ in rows:
        total += agn
    expected = alpha * total / (len(rows) if normalized else 1) + rows[-1][1]
    assert AgnVal(alpha, normalized)(history) == pytest.approx(expected, rel=1e-12)


@given(st.lists(st.floats(0) | st.just(math.nan), min_size=1, max_size=5), st.booleans())
def test_no_number_makes_it_raise(agns, normalized):
    history = History({"agn": agn, "val_loss": agn} for agn in agns)
    value = AgnVal(1.0, normalized)(history)
    assert isinstance(value, float)
    if any(math.isnan(agn) for agn in agns):
        assert math.isnan(value)


@given(st.lists(finite, min_size=1, max_size=10), st.integers(1, 5))
def test_normalized_does_not_depend_on_the_length_of_the_same_run_again(agns, times):
    once = History({"agn": agn, "val_loss": 0.5} for agn in agns)
    again = History(once.rows * times)
    assert AgnVal(1e-3, True)(again) == pytest.approx(AgnVal(1e-3, True)(once))


@BOTH
@pytest.mark.parametrize("alpha", [-1e-9, math.nan, math.inf, -math.inf, "1e-3", True])
def test_an_alpha_out_of_range_is_refused(objective, loss, alpha):
    with pytest.raises(ArgumentError) as raised:
        objective(alpha=alpha)
    assert str(raised.value) == f"alpha must be a finite number, 0 or more, got {alpha!r}"


@BOTH
@pytest.mark.parametrize("normalized", [False, True])
@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "the history is empty, so it has no {loss!r}"),
        ([{"agn": 1.0}], "the history has no {loss!r} at epoch 1; it has: agn"),
        ([{"agn": 1.0}, {"{loss}": 1.0}], "the history has no 'agn' at epoch 2; it has: {loss}"),
    ],
)
def test_a_missing_column_is_named(objective, loss, normalized, rows, message):
    history = History({name.format(loss=loss): value for name, value in row.items()} for row in rows)
    with pytest.raises(StudyError) as raised:
        objective(normalized=normalized)(history)
    assert str(raised.value) == message.format(loss=loss)


@BOTH
@pytest.mark.parametrize(
    ("way", "column", "measure"),
    [
        ("exact", "agn", AGN()),
        ("sampled", "agn", AGN(samples=1000)),
        ("online", "agn_online", OnlineAGN()),
    ],
)
def test_agn_may_be_estimated(objective, loss, way, column, measure):
    estimated = objective(1.0, agn=way)
    assert estimated.measures[0] == measure
    assert estimated(History([{column: 5.0, loss: 0.8}, {column: 2.0, loss: 0.3}])) == pytest.approx(7.3)


def test_the_training_loss_is_of_the_samples_that_agn_is_of():
    assert AgnTrain(agn="sampled").measures[1] == MeanLoss("train", samples=1000)
    assert AgnTrain().measures[1] == MeanLoss("train")


def test_an_unknown_way_is_refused():
    with pytest.raises(ArgumentError) as raised:
        AgnVal(agn="cheap")
    assert str(raised.value) == "agn must be 'exact', 'sampled' or 'online', got 'cheap'"


WELL = {"train_accuracy": 1.0, "train_majority": 0.1, "train_entropy": 0.0, "val_dead_units": 0.0}
NOT = WELL | {"train_accuracy": 0.1}


@BOTH
@pytest.mark.parametrize("alpha", [0.0, 1e-4, 1.0, 1e9])
def test_gated_whoever_is_not_fitted_comes_behind_whoever_is(objective, loss, alpha):
    gated = objective(alpha, gated=True)
    fitted = [gated(History([WELL | {"agn": agn, loss: 5.0}])) for agn in (0.0, 1.0, 1e4)]
    unfitted = [gated(History([NOT | {"agn": 0.0, loss: value}])) for value in (0.1, 2.3, 2.4)]
    assert fitted == sorted(fitted)
    assert unfitted == sorted(set(unfitted))
    assert max(fitted) < min(unfitted)
    assert unfitted[0] == UNFITTED + 0.1


@BOTH
def test_gated_a_fitted_model_has_the_value_that_it_has_without(objective, loss):
    history = History([NOT | {"agn": 5.0, loss: 0.8}, WELL | {"agn": 2.0, loss: 0.3}])
    for normalized in (False, True):
        ungated = objective(0.1, normalized)
        assert objective(0.1, normalized, gated=True)(history) == ungated(history)
        assert ungated.gate_measures == ()
    assert objective(gated=True).measures[2:] == GATE.measures()
    assert objective(gated=True, agn="sampled").measures[2:] == GATE.measures(1000)


@BOTH
@pytest.mark.parametrize("columns", [WELL, NOT], ids=["fitted", "unfitted"])
@pytest.mark.parametrize("wrong", [math.nan, math.inf])
def test_gated_what_diverged_is_not_finite(objective, loss, columns, wrong):
    for numbers in ({"agn": wrong, loss: 1.0}, {"agn": 1.0, loss: wrong}):
        assert not math.isfinite(objective(gated=True)(History([columns | numbers])))


@BOTH
def test_a_gate_that_is_no_truth_value_is_refused(objective, loss):
    with pytest.raises(ArgumentError) as raised:
        objective(gated=1)
    assert str(raised.value) == "gated must be True or False, got 1"
