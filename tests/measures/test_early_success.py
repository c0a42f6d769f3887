import math
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hpo_gn.errors import ArgumentError, StudyError
from hpo_gn.history import History
from hpo_gn.measures.early_success import (
    DEFAULTS,
    NORMALIZED,
    EarlySuccess,
    Spectra,
    expected_accuracy,
    has_ended,
    s_f,
    s_fv,
    s_o,
    s_s,
    s_t,
)

WIDTHS = {"1": 64, "3": 16}
SCORES = {"s_o": s_o, "s_s": s_s, "s_t": s_t, "s_f": s_f, "s_fv": s_fv}


def history_of(spectra: dict[str, list[float]], accuracies: list[float]) -> History:
    """Epochs with the given S of each layer and validation accuracies."""
    rows = []
    for epoch, accuracy in enumerate(accuracies):
        row = {"val_accuracy": accuracy}
        for layer, values in spectra.items():
            row[f"spectrum:{layer}"] = values[epoch]
            row[f"spectrum_width:{layer}"] = WIDTHS[layer]
        rows.append(row)
    return History(rows)


def literal(history: History, parameters: EarlySuccess) -> dict[str, float]:
    """The equations, as they stand in the measures' sheet, term by term with epochs from 1."""
    t, t0 = len(history), parameters.t0

    def spectrum(k: int, layer: str) -> float:
        return history.rows[k - 1][f"spectrum:{layer}"]

    steepness, shift = 0.0, 0.0
    for layer, width in WIDTHS.items():
        total = 0.0
        for k in range(t - t0 + 1, t + 1):
            total += spectrum(k, layer)
        steepness += parameters.beta * width * t0 / total / len(WIDTHS)
        total, alpha = 0.0, 0.0
        for k in range(t - t0 + 2, t + 1):
            alpha += 1 / (t0 - 1)
            total += alpha * (spectrum(k - 1, layer) - spectrum(k, layer))
        assert alpha == pytest.approx(1)
        shift += total / ((t0 - 1) * width) / len(WIDTHS)
    combined = abs(math.log(steepness)) + parameters.eta * shift
    accuracy = history.rows[t - 1]["val_accuracy"]
    if steepness >= parameters.t2 and shift <= parameters.delta:
        final, final_accuracy = 0.0, accuracy
    else:
        final = combined
        gamma = 2e-4 * accuracy * t
        gain = min((1 - accuracy) / accuracy, gamma * combined) if accuracy else 0.0
        final_accuracy = max(0.0, accuracy * (1 + gain))
    return {"s_o": steepness, "s_s": shift, "s_t": combined, "s_f": final, "s_fv": final_accuracy}


@st.composite
def histories(draw) -> History:
    epochs = draw(st.integers(2, 12))

    def floats(least: float, most: float) -> st.SearchStrategy[list[float]]:
        return st.lists(st.floats(least, most), min_size=epochs, max_size=epochs)

    spectra = {layer: draw(floats(1, width)) for layer, width in WIDTHS.items()}
    return history_of(spectra, draw(floats(0, 1)))


@given(
    histories(),
    st.integers(2, 12),
    st.floats(1, 100),
    st.floats(-0.1, 0.1),
)
def test_the_scores_are_the_papers_equations(history, t0, t2, delta):
    parameters = EarlySuccess(t0=min(t0, len(history)), t2=t2, delta=delta)
    expected = literal(history, parameters)
    assume(abs(expected["s_o"] - t2) > 1e-9)  # which side of a threshold rounding decides
    assume(abs(expected["s_s"] - delta) > 1e-9)
    for name, score in SCORES.items():
        assert score(history, parameters) == pytest.approx(expected[name], rel=1e-9, abs=1e-9)


@given(histories())
def test_steepness_is_at_least_one_and_the_estimate_is_an_accuracy(history):
    parameters = EarlySuccess(t0=2)
    assert s_o(history, parameters) >= 1 - 1e-12
    assert 0 <= s_fv(history, parameters) <= 1


def literal_normalized(history: History, parameters: EarlySuccess) -> tuple[float, float]:
    """s_o and s_s of u = 1 − log S / log d, term by term."""
    t, t0 = len(history), parameters.t0
    steepness, shift = 0.0, 0.0
    for layer, width in WIDTHS.items():
        u = {k: 1 - math.log(history.rows[k - 1][f"spectrum:{layer}"], width) for k in range(1, t + 1)}
        for k in range(t - t0 + 1, t + 1):
            steepness += parameters.beta * u[k] / t0 / len(WIDTHS)
        for k in range(t - t0 + 2, t + 1):
            alpha = (k - (t - t0 + 1)) / (t0 - 1)
            shift += alpha * (u[k] - u[k - 1]) / (t0 - 1) / len(WIDTHS)
    return steepness, shift


@given(histories(), st.integers(2, 12), st.floats(0.1, 0.9), st.floats(-0.1, 0.1), st.floats(0.5, 2))
def test_the_normalized_scores_term_by_term(history, t0, t2, delta, beta):
    chosen = {"t0": min(t0, len(history)), "t2": t2, "delta": delta, "beta": beta}
    parameters = EarlySuccess(eta=100.0, normalized=True, **chosen)
    steepness, shift = literal_normalized(history, parameters)
    assume(abs(steepness - t2) > 1e-9)
    assume(abs(shift - delta) > 1e-9)
    over = steepness >= t2 and shift <= delta
    total, accuracy = steepness + 100 * shift, history.last("val_accuracy")
    gain = min(1 - accuracy, accuracy * 2e-4 * accuracy * len(history) * total)
    expected = {
        "s_o": steepness,
        "s_s": shift,
        "s_t": total,
        "s_f": 0.0 if over else total,
        "s_fv": accuracy if over else max(0.0, accuracy + gain),
    }
    for name, score in SCORES.items():
        assert score(history, parameters) == pytest.approx(expected[name], rel=1e-9, abs=1e-9)
    assert has_ended(history, parameters) is over


@pytest.mark.parametrize(("width", "spectrum", "steepness"), [(64, 64, 0), (64, 8, 0.5), (64, 1, 1)])
def test_normalized_steepness_does_not_depend_on_the_width(width, spectrum, steepness):
    row = {"spectrum:0": float(spectrum), "spectrum_width:0": float(width)}
    wide = {"spectrum:0": float(spectrum**2), "spectrum_width:0": float(width**2)}
    for history in (History([row] * 5), History([wide] * 5)):
        assert s_o(history, NORMALIZED) == pytest.approx(steepness)
        assert s_s(history, NORMALIZED) == 0


def test_a_layer_of_one_feature_is_as_steep_as_can_be():
    history = History([{"spectrum:0": 1.0, "spectrum_width:0": 1.0}] * 5)
    assert s_o(history, NORMALIZED) == 1
    assert s_o(history) == 1
    assert s_t(history) == 0


def test_spectra_are_the_scores_parts():
    history = history_of({"1": [64.0, 32.0, 16.0, 8.0]}, [0.6] * 4)
    for parameters in (EarlySuccess(t0=3), EarlySuccess(t0=3, t2=2.0, delta=1.0), NORMALIZED.within(history)):
        spectra = Spectra.of(history, parameters)
        assert spectra == Spectra(s_o(history, parameters), s_s(history, parameters))
        assert spectra.trend(parameters) == s_t(history, parameters)
        assert spectra.success(parameters) == s_f(history, parameters)
        assert spectra.have_ended(parameters) is has_ended(history, parameters)
        assert spectra.final_accuracy(0.6, 4, parameters) == s_fv(history, parameters)


@pytest.mark.parametrize(("epochs", "t0"), [(0, 2), (1, 2), (2, 2), (3, 3), (5, 5), (9, 5)])
def test_a_window_within_a_history(epochs, t0):
    for parameters in (EarlySuccess(t0=5), replace(NORMALIZED, t0=5)):
        within = parameters.within(History([{}] * epochs))
        assert within == replace(parameters, t0=t0)


@given(histories(), st.integers(2, 15))
def test_the_expected_accuracy_is_of_any_history(history, t0):
    parameters = EarlySuccess(t0=t0)
    for epochs in range(2, len(history) + 1):
        upto = history.upto(epochs)
        expected = s_fv(upto, EarlySuccess(t0=min(t0, epochs)))
        assert expected_accuracy(upto, parameters) == expected
    first = history.upto(1)
    assert expected_accuracy(first, parameters) == first.last("val_accuracy")
    with pytest.raises(StudyError, match=r"^the history is empty, so it has no 'val_accuracy'$"):
        expected_accuracy(History(), parameters)


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_spectra_that_are_not_numbers_are_refused(odd):
    history = history_of({"1": [4.0] * 4 + [odd]}, [0.7] * 5)
    with pytest.raises(StudyError) as raised:
        s_fv(history)
    assert str(raised.value) == "s_o needs finite spectra, that of layer '1' is not"


SAME = {"spectrum:same": 4.0, "spectrum_width:same": 64.0}


def other(width: float) -> dict[str, float]:
    return {"spectrum:other": 2.0, "spectrum_width:other": width}


@pytest.mark.parametrize(
    "rows",
    [
        [SAME, SAME, SAME | other(8.0)],  # it appears
        [SAME | other(8.0), SAME, SAME | other(8.0)],  # it comes back
        [SAME | other(8.0), SAME | other(8.0), SAME],  # it vanishes
        [SAME | other(8.0), SAME | other(16.0), SAME | other(16.0)],  # it becomes wider
    ],
    ids=["appears", "comes back", "vanishes", "wider"],
)
@pytest.mark.parametrize("parameters", [EarlySuccess(t0=3), EarlySuccess(t0=3, normalized=True)])
def test_a_layer_that_changes_within_the_window_does_not_count(rows, parameters):
    assert s_o(History(rows), parameters) == s_o(History([SAME] * 3), parameters)
    assert s_s(History(rows), parameters) == 0
    alone = [{name: value for name, value in row.items() if "same" not in name} for row in rows]
    with pytest.raises(StudyError) as raised:
        s_o(History(alone), parameters)
    if alone[-1]:
        assert str(raised.value) == "s_o needs a layer that stayed the same for 3 epochs"
    else:
        assert str(raised.value) == "s_o needs Spectrum's columns, the history has none at epoch 3"


def test_a_layer_that_changed_before_the_window_counts():
    rows = [SAME | other(16.0), *[SAME | other(8.0)] * 3]
    assert s_o(History(rows), EarlySuccess(t0=3)) == (16 + 4) / 2


def test_an_example_by_hand():
    # One layer of 64: S = 32, 16, 8 in the window. s_o = 64·3/56, s_s = (½·16 + 1·8) / (2·64).
    history = history_of({"1": [64.0, 32.0, 16.0, 8.0]}, [0.5, 0.5, 0.5, 0.6])
    parameters = EarlySuccess(t0=3, t2=3.0, delta=0.01)
    steepness, shift = 64 * 3 / 56, 16 / 128
    assert s_o(history, parameters) == pytest.approx(steepness)
    assert s_s(history, parameters) == pytest.approx(shift)
    assert s_t(history, parameters) == pytest.approx(math.log(steepness) + 3500 * shift)
    assert s_f(history, parameters) == s_t(history, parameters)
    gamma = 2e-4 * 0.6 * 4
    assert s_fv(history, parameters) == pytest.approx(0.6 * (1 + gamma * s_t(history, parameters)))


def test_a_compressed_spectrum_that_stands_still_scores_nothing():
    history = history_of({"1": [4.0] * 5}, [0.7] * 5)
    assert s_o(history) == 16
    assert s_s(history) == 0
    assert s_t(history) == pytest.approx(math.log(16))
    assert s_f(history) == 0
    assert s_fv(history) == 0.7


@pytest.mark.parametrize(
    ("t2", "delta", "ended"), [(16.0, 0.0, True), (16.1, 0.0, False), (16.0, -1e-9, False)]
)
def test_both_thresholds_must_be_met(t2, delta, ended):
    history = history_of({"1": [4.0] * 5}, [0.7] * 5)
    assert (s_f(history, EarlySuccess(t2=t2, delta=delta)) == 0) == ended


def test_only_the_window_counts():
    early, late = [50.0, 3.0, 60.0], [30.0, 20.0, 15.0, 12.0, 11.0]
    long, short = history_of({"1": early + late}, [0.5] * 8), history_of({"1": late}, [0.5] * 5)
    for score in (s_o, s_s, s_t, s_f):
        assert score(long) == score(short)


@pytest.mark.parametrize("accuracy", [0.0, 1.0])
def test_the_ends_of_the_accuracy_stay(accuracy):
    history = history_of({"1": [60.0, 50.0, 40.0, 30.0, 20.0]}, [accuracy] * 5)
    assert s_t(history) > 0
    assert s_fv(history) == accuracy


def test_spectra_that_spread_lower_the_estimate_to_zero_at_most():
    history = history_of({"1": [1.0, 1.0, 1.0, 1.0, 64.0]}, [0.9] * 5)
    assert s_t(history) < 0
    assert 0 <= s_fv(history) < 0.9
    assert s_fv(history, EarlySuccess(eta=1e9)) == 0


def test_a_dead_layer_counts_as_one_of_a_single_direction():
    dead, single = history_of({"1": [0.0] * 5}, [0.5] * 5), history_of({"1": [1.0] * 5}, [0.5] * 5)
    for score in SCORES.values():
        assert score(dead) == score(single)
    assert s_o(dead) == 64


@pytest.mark.parametrize("score", SCORES.values(), ids=SCORES)
def test_a_history_shorter_than_the_window_is_refused(score):
    history = history_of({"1": [4.0] * 3}, [0.7] * 3)
    with pytest.raises(StudyError) as raised:
        score(history)
    first = "s_s" if score is s_s else "s_o"
    assert str(raised.value) == f"{first} needs at least 5 epochs, the history has 3"
    score(history, EarlySuccess(t0=3))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"val_accuracy": 0.5}, "s_o needs Spectrum's columns, the history has none at epoch 2"),
        (
            {"val_accuracy": 0.5, "spectrum:1": 4.0},
            "the history has no 'spectrum_width:1' at epoch 2; it has: spectrum:1, val_accuracy",
        ),
        (
            {"spectrum:1": 4.0, "spectrum_width:1": 64.0},
            "the history has no 'val_accuracy' at epoch 2; it has: spectrum:1, spectrum_width:1",
        ),
    ],
)
def test_what_was_not_recorded_is_named(row, message):
    with pytest.raises(StudyError) as raised:
        s_fv(History([row, row]), EarlySuccess(t0=2))
    assert str(raised.value) == message


@pytest.mark.parametrize("t0", [1, 0, -3, 2.5])
def test_the_window_must_hold_two_epochs(t0):
    with pytest.raises(ArgumentError) as raised:
        EarlySuccess(t0=t0)
    assert str(raised.value) == f"t0 must be an integer of at least 2, got {t0}"


def test_the_papers_parameters():
    parameters = EarlySuccess()
    assert (parameters.beta, parameters.eta, parameters.gamma, parameters.t1) == (1, 3500, 2e-4, 0.25)
    assert parameters == DEFAULTS
