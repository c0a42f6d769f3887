"""Results: the interval, the sentence, the files."""

import json

import pytest
import yaml
from scipy import stats

from hpo_gn.result import Result, Retrained, Spent, percent


def result(winner, initial, *, params=None, failures=()):
    spent = Spent(limit=8, spent=8, held=0, training_s=1.0, measuring_s=0.5)
    return Result(
        study="s",
        storage="sqlite:///s.db",
        objective="ValLoss()",
        searcher="random",
        trial=3,
        value=0.25,
        epochs=4,
        trials={"complete": 8},
        search=spent,
        retraining=spent,
        winner=Retrained(params or {"rate": 0.5}, tuple(winner), tuple(winner), tuple(failures)),
        initial=None if initial is None else Retrained({"rate": 0.1}, tuple(initial), tuple(initial)),
    )


def test_interval_is_that_of_a_paired_t_test():
    winner, initial = (0.91, 0.93, 0.90), (0.88, 0.89, 0.90)
    expected = stats.ttest_rel(winner, initial).confidence_interval(0.95)
    middle, low, high = result(winner, initial).difference
    assert (low, high) == pytest.approx((expected.low, expected.high))
    assert middle == pytest.approx(0.0233333333)


@pytest.mark.parametrize(
    ("winner", "initial", "begins"),
    [
        ((0.91, 0.92, 0.93), (0.81, 0.82, 0.83001), "The search paid: test accuracy 92.00 ± 1.00 %"),
        ((0.81, 0.82, 0.83), (0.91, 0.92, 0.93001), "The search did harm: "),
        ((0.91, 0.80, 0.93), (0.81, 0.92, 0.83), "No evidence that the search paid: "),
        ((0.91,), (0.81,), "Too few trainings to tell whether the search paid: "),
        (
            (),
            (0.81, 0.8),
            "Too few trainings to tell whether the search paid: test accuracy none with the winner",
        ),
    ],
)
def test_verdict_follows_the_interval(winner, initial, begins):
    assert result(winner, initial).verdict.startswith(begins)


def test_a_failed_training_leaves_no_pairs():
    lame = result((0.9, 0.9), (0.8, 0.8, 0.8), failures=["diverged"])
    assert lame.difference is None


def test_verdict_when_the_winner_is_the_beginning():
    assert result((0.9, 0.9), (0.9, 0.9), params={"rate": 0.1}).verdict.startswith(
        "The search chose the initial settings"
    )


def test_without_initial_settings_there_is_no_difference_and_no_claim():
    alone = result((0.9, 0.92), None)
    assert alone.difference is None
    assert alone.verdict == (
        "Test accuracy 91.00 ± 1.41 % with the winner; the initial settings were not retrained."
    )


def test_percent_is_mean_and_sample_standard_deviation():
    assert percent((0.90, 0.92, 0.94)) == "92.00 ± 2.00 %"
    assert percent((0.9,)) == "90.00 %"


def test_files_hold_the_winner_and_everything(tmp_path):
    some = result((0.91, 0.92), (0.81, 0.82))
    some.write(tmp_path / "new")
    assert yaml.safe_load((tmp_path / "new" / "best.yaml").read_text()) == {"rate": 0.5}
    written = json.loads((tmp_path / "new" / "result.json").read_text())
    assert written["winner"]["test_accuracy"] == [0.91, 0.92]
    assert written["verdict"] == some.verdict
    took = {"training_s": 1.0, "measuring_s": 0.5, "measuring": 0.0}
    assert written["search"] == {"limit": 8, "spent": 8, "held": 0, **took}
