import math

import numpy as np
import pytest
from scipy import stats

from benchmarks.give_up import calibration
from benchmarks.give_up.calibration import Signals, calibrate, candidates, judge, threshold
from benchmarks.give_up.figures import confusions, correlations, counts, draw, signals
from benchmarks.give_up.scores import Confusion, Difference, Trained, history, scores, separation, spearman
from hpo_gn.measures.early_success import DEFAULTS, NORMALIZED

EPOCHS = 40


def run(number: int) -> dict:
    """A training that succeeds the more, and whose spectrum falls the faster, the higher its number; the
    accuracy of the first epochs says nothing.
    """
    random = np.random.default_rng(number)
    pace = number / 30
    ramp = np.arange(EPOCHS) / EPOCHS
    accuracy = 0.5 + 0.4 * pace * ramp**2 + 0.02 * random.uniform(size=EPOCHS)
    spectra = {
        f"spectrum:{layer}": (width / 4 * (1 - 0.8 * pace * ramp)).tolist()
        for layer, width in ((0, 16), (1, 8))
    }
    rows = {"val_accuracy": accuracy.tolist(), "train_accuracy": accuracy.tolist(), **spectra}
    return {"number": number, "factor": 1 + number / 10, "widths": [4, 16, 8, 2], "rows": rows}


@pytest.fixture(scope="module")
def runs() -> list[dict]:
    return [run(number) for number in range(30)]


@pytest.fixture(scope="module")
def trained(runs) -> Trained:
    return Trained.of(runs)


def test_a_history_has_the_columns_of_the_measures():
    known = history(run(3))
    assert len(known) == EPOCHS
    assert known.last("spectrum_width:0") == 16
    assert set(known.rows[0]) == {
        "val_accuracy",
        "spectrum:0",
        "spectrum:1",
        "spectrum_width:0",
        "spectrum_width:1",
    }


def test_a_run_that_diverged_is_counted_and_left_out(runs):
    broken = run(5)
    broken["rows"]["spectrum:0"][20] = None
    trained = Trained.of([*runs, broken])
    assert trained.diverged == 1
    assert len(trained.final) == len(trained.histories[10]) == 30


def test_a_checkpoint_knows_nothing_of_later_epochs(trained):
    assert {epoch: len(known[0]) for epoch, known in trained.histories.items()} == {10: 10, 20: 20, 30: 30}


def test_spearman_is_scipys():
    random = np.random.default_rng(0)
    x, y = random.integers(0, 5, (2, 40)).astype(float)  # with ties
    assert float(spearman(x, y)) == pytest.approx(stats.spearmanr(x, y).statistic)
    assert math.isnan(float(spearman(x, np.ones(40))))


def test_a_difference_is_told_from_noise():
    random = np.random.default_rng(0)
    final = random.normal(size=200)
    good, bad = final + 0.1 * random.normal(size=200), final + 3 * random.normal(size=200)
    found = Difference.of(good, bad, final)
    assert 0 < found.low < found.value < found.high
    same = Difference.of(good, good, final)
    assert (same.low, same.value, same.high) == (0, 0, 0)


@pytest.mark.parametrize(
    ("score", "expected"),
    [([1, 2, 3, 4], 1), ([4, 3, 2, 1], 0), ([1, 3, 2, 4], 3 / 4), ([1, 1, 1, 1], 1 / 2)],
)
def test_separation(score, expected):
    assert separation(np.array(score), np.array([0.5, 0.6, 0.7, 0.8])) == expected


def test_without_failures_there_is_no_separation():
    assert math.isnan(separation(np.array([1.0, 2.0]), np.array([0.7, 0.8])))


def test_confusion():
    final = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    found = Confusion.of(np.array([0.3, 0.2, 0.3, 0.3, 0.0]), 0.25, final)
    assert found == Confusion(found=2, missed=1, false_alarms=1, rejected=1)
    assert found.balanced_accuracy == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert str(found) == "2 of 3 found, 1 of 2 false alarms"


@pytest.mark.parametrize("normalized", [False, True])
def test_the_calibrations_scores_are_the_packages(trained, normalized):
    for parameters in (*list(candidates(normalized))[::37], NORMALIZED if normalized else DEFAULTS):
        for known in Signals.of(trained, parameters):
            for name, values in (("s_F", known.s_f(parameters)), ("s_Fv", known.s_fv(parameters))):
                expected = trained.at(known.epoch, scores(parameters)[name])
                np.testing.assert_allclose(values, expected, rtol=1e-12)


@pytest.mark.parametrize("normalized", [False, True])
def test_calibration_finds_parameters_that_rank_well(trained, normalized, monkeypatch):
    monkeypatch.setattr(calibration, "WINDOWS", (3, 5))
    best, *others = calibrate(trained, normalized=normalized)
    assert others[-1].rank < best.rank
    assert best.rank > max(choice.rank for choice in others) - 0.01
    of_best = scores(best.parameters)
    ranks = [spearman(trained.at(epoch, of_best["s_Fv"]), trained.final) for epoch in (10, 20, 30)]
    assert best.rank == pytest.approx(np.mean(ranks))
    assert judge(trained, best.parameters) == best
    separation = Confusion.of(trained.at(10, of_best["s_F"]), best.parameters.t1, trained.final)
    assert best.separation == separation.balanced_accuracy


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        ([1.0, 2.0, 3.0, 4.0], 2.5),
        ([4.0, 3.0, 2.0, 1.0], 1.5),
        ([1.0, 3.0, 3.0, 4.0], 2.0),
        ([2.0, 2.0, 2.0, 2.0], 2.0),
    ],
)
def test_threshold(score, expected):
    final = np.array([0.5, 0.6, 0.7, 0.8])
    best = threshold(np.array(score), final)
    assert best == expected


def test_tables_and_picture(runs, trained, tmp_path):
    variants = {"defaults": DEFAULTS, "normalized": NORMALIZED}
    paper = ((0.4, 0.7, 0.6), (0.5, 0.8, 0.7), (0.6, 0.9, 0.8))
    lines = list(correlations(trained, variants, paper))
    assert len(lines) == 1 + 3 * 3
    assert lines[1].split() == ["the", "paper's", "figures", "10", "0.400", "0.700", "0.600", "+0.100"]
    assert sum(" found, " in line for line in confusions(trained, variants)) == 5
    assert [line.split("  ")[0] for line in signals(runs)][1:4] == ["accuracy", "s_Fv", "s_o"]
    assert counts("shell", runs, trained).startswith("shell: n = 30, 0 diverged, ")
    draw({"shell": (runs, trained)}, variants, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000
