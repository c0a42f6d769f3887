import math

import numpy as np
import pytest
from scipy.stats import spearmanr

from hpo_gn.page.correlations import FEWEST, correlations, rank_correlation
from hpo_gn.page.study import StudyRead
from tests.page.studies import make_study, make_trial


@pytest.mark.parametrize("ties", [False, True])
def test_it_is_scipys_spearman(ties):
    random = np.random.default_rng(0)
    x = random.normal(size=40)
    y = x + random.normal(size=40)
    if ties:
        x, y = np.round(x), np.round(y)
    found = rank_correlation(list(x), list(y))
    assert found.value == pytest.approx(spearmanr(x, y).statistic)
    assert found.low < found.value < found.high
    assert rank_correlation(list(x), list(y)) == found


def test_the_interval_holds_as_often_as_it_says():
    random = np.random.default_rng(1)
    # Of two Gaussians with correlation r, Spearman's is 6/π asin(r/2).
    true, held = 6 / math.pi * math.asin(0.6 / 2), 0
    for _ in range(200):
        x = random.normal(size=60)
        y = 0.6 * x + 0.8 * random.normal(size=60)
        found = rank_correlation(list(x), list(y), resamples=300)
        held += found.low <= true <= found.high
    assert 0.88 <= held / 200 <= 0.99


@pytest.mark.parametrize(
    ("n", "text"),
    [
        (FEWEST - 1, f"too few (n\u00a0=\u00a0{FEWEST - 1})"),
        (FEWEST, f"all the same (n\u00a0=\u00a0{FEWEST})"),
    ],
)
def test_too_few_and_constant_ones_say_so(n, text):
    assert str(rank_correlation([1.0] * n, [float(i) for i in range(n)])) == text


def test_pairs_that_are_not_finite_do_not_count():
    x = [*range(10), math.nan, 3.0]
    y = [*range(10), 1.0, math.inf]
    found = rank_correlation(x, y)
    assert (found.n, found.value) == (10, pytest.approx(1.0))


def test_trials_are_split_by_training_accuracy():
    # The gap rises with AGN among the well-fitted, and falls among the others.
    trials = [
        make_trial(
            number,
            train_loss=0.0,
            val_loss=float(number if number < 10 else 40 - number),
            agn=float(number),
            train_accuracy=0.88 if number < 10 else 0.87,
        )
        for number in range(20)
    ]
    section = correlations(StudyRead.of(make_study([*trials, make_trial(30, epochs=1)])))
    rows = {row[0]: row[1:] for row in section.tables[0].rows}
    everything, fitted, others = rows["agn, last epoch"]
    assert (fitted[:5], others[:5]) == ("+1.00", "-1.00")
    assert fitted.endswith("n\u00a0=\u00a010")
    assert everything.endswith("n\u00a0=\u00a020")
    assert "Of 20 trials, 10 are well fitted" in section.paragraphs[0]
    assert len(section.figures) == 1
    assert rows["val_loss, last epoch"][1][:5] == "+1.00"


def test_spectra_give_their_scores_and_no_columns():
    spectra = {"spectrum:fc": 3.0, "spectrum_width:fc": 10.0}
    trials = [make_trial(number, **spectra) for number in range(9)]
    rows = [row[0] for row in correlations(StudyRead.of(make_study(trials))).tables[0].rows]
    assert {"s_F", "s_Fv"} <= set(rows)
    assert not any("spectrum" in row for row in rows)
