import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpo_gn.errors import StudyError
from hpo_gn.history import History
from hpo_gn.measures import Accuracy, Spectrum
from hpo_gn.measures.early_success import NORMALIZED, EarlySuccess, s_fv
from hpo_gn.objectives import SFv


def history_of(points: list[tuple[float, float]]) -> History:
    """Epochs of one layer with 64 features: S, and the validation accuracy."""
    return History(
        {"spectrum:0": spectrum, "spectrum_width:0": 64.0, "val_accuracy": accuracy}
        for spectrum, accuracy in points
    )


RISING = [(64.0 / epoch, 0.05 * epoch) for epoch in range(1, 9)]


def test_it_is_one_minus_s_fv_at_the_last_epoch():
    assert SFv().measures == (Accuracy("validation"), Spectrum())
    for parameters in (EarlySuccess(), NORMALIZED, EarlySuccess(t0=3)):
        expected = 1 - s_fv(history_of(RISING), parameters)
        assert SFv(parameters)(history_of(RISING)) == expected
        assert expected < 1 - 0.4


@pytest.mark.parametrize("epochs", [2, 3, 4])
def test_a_history_shorter_than_the_window_has_a_window_of_its_length(epochs):
    history = history_of(RISING[:epochs])
    assert SFv()(history) == 1 - s_fv(history, EarlySuccess(t0=epochs))


def test_a_single_epoch_has_its_validation_error():
    assert SFv()(history_of([(3.0, 0.25)])) == 0.75


@given(st.lists(st.tuples(st.floats(0, 64), st.floats(0, 1)), min_size=1, max_size=8), st.booleans())
def test_it_is_an_error_from_0_to_1(points, normalized):
    assert 0 <= SFv(NORMALIZED if normalized else EarlySuccess())(history_of(points)) <= 1


def test_a_run_that_will_rise_is_ranked_before_one_that_stands_still():
    still = history_of([(4.0, 0.41)] * 8)
    assert SFv()(history_of(RISING)) < SFv()(still) == pytest.approx(0.59)


def test_it_needs_spectra():
    with pytest.raises(StudyError, match=r"^s_o needs Spectrum's columns, the history has none at epoch 2$"):
        SFv()(History([{"val_accuracy": 0.5}] * 2))


def test_its_name_says_no_more_than_what_was_chosen():
    assert repr(SFv()) == "SFv()"
    assert repr(SFv(EarlySuccess(t0=3))).startswith("SFv(EarlySuccess(t0=3, ")
