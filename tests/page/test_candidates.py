import math

import pytest

from hpo_gn.judging import choose
from hpo_gn.objectives import AgnVal, ValError, ValLoss
from hpo_gn.page.candidates import ALPHAS, Pick, best, picks
from hpo_gn.page.study import StudyRead
from tests.page.studies import make_study, make_trial


def read_of(trials):
    return StudyRead.of(make_study(trials))


def test_each_objective_is_asked_and_each_choice_is_one_row():
    read = read_of([make_trial(number) for number in range(12)])
    found = picks(read)
    assert len({pick.trial.number for pick in found.picks}) == len(found.picks)
    names = [name for pick in found.picks for name in pick.objectives]
    assert {"val-loss", "val-error", "agn-train", "agn-val"} <= set(names)
    for name in ("agn-train", "agn-val"):
        alphas = [alpha for pick in found.picks for alpha in pick.objectives.get(name, ())]
        assert sorted(alphas) == sorted(ALPHAS)
    for pick in found.picks:
        for alpha in pick.objectives.get("agn-val", ()):
            assert choose(AgnVal(alpha=alpha), read.trials).number == pick.trial.number


def test_objectives_whose_columns_are_missing_say_so():
    found = picks(read_of([make_trial(number) for number in range(3)]))
    assert "spectrum" in dict(found.skipped)["s-fv"].lower()


def test_the_studys_own_choice_has_a_row():
    nobodys = make_trial(6, value=0.0, val_loss=9.0, train_loss=9.0, val_accuracy=0.1)
    found = picks(read_of([*(make_trial(number) for number in range(6)), nobodys]))
    assert found.own is not None
    assert found.own.number == 6
    own = [pick for pick in found.picks if pick.own]
    assert [pick.trial.number for pick in own] == [6]
    assert "this study's objective" in own[0].objectives


def test_what_is_no_number_is_never_chosen():
    trials = [make_trial(0, val_loss=math.nan), make_trial(1, val_loss=3.0), make_trial(2, val_loss=math.inf)]
    assert best(ValLoss(), read_of(trials)).number == 1


def test_equals_are_won_by_the_earliest():
    trials = [make_trial(number, val_accuracy=0.5) for number in range(3)]
    assert best(ValError(), read_of(trials)).number == 0


def test_an_objective_that_gives_no_numbers_cannot_say():
    read = read_of([make_trial(number, val_loss=math.nan) for number in range(2)])
    found = picks(read)
    assert dict(found.skipped)["val-loss"] == "its value is a number for no trial"
    assert found.baseline is None


@pytest.mark.parametrize(
    ("objectives", "label"),
    [
        ({"val-loss": ()}, "val-loss"),
        ({"agn-val": ALPHAS[1:4], "val-error": ()}, "agn-val, α = 0.0001 … 0.01; val-error"),
        ({"agn-val": (1e-5, 1e-4)}, "agn-val, α = 1e-05, 0.0001"),
        ({"agn-val": (1e-5, 1e-3, 1e-1)}, "agn-val, α = 1e-05, 0.001, 0.1"),
    ],
)
def test_weights_that_follow_one_another_are_a_range(objectives, label):
    assert Pick(make_trial(0), objectives).label == label
