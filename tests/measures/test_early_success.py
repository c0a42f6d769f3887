import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hpo_gn.errors import ArgumentError, StudyError
from hpo_gn.history import History
from hpo_gn.measures.early_success import EarlySuccess, s_f, s_fv, s_o, s_s, s_t

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
