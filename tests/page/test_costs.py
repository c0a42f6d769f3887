from itertools import combinations
from statistics import mean

import pytest

from hpo_gn.page.costs import expected_best, measure_costs
from hpo_gn.page.study import StudyRead, TrialCost
from tests.page.studies import make_study, make_trial

VALUES = [5.0, 1.0, 4.0, 2.0, 2.0, 9.0]


@pytest.mark.parametrize("size", range(1, 7))
def test_the_expected_best_is_that_over_all_subsets(size):
    assert expected_best(VALUES, size) == pytest.approx(mean(map(min, combinations(VALUES, size))))


def test_between_whole_sizes_it_lies_on_a_line():
    low, high = expected_best(VALUES, 2), expected_best(VALUES, 3)
    assert expected_best(VALUES, 2.25) == pytest.approx(0.75 * low + 0.25 * high)


def test_a_thousand_values_are_no_trouble():
    assert expected_best([float(each) for each in range(1000)], 500) == pytest.approx(1001 / 501 - 1)


def read_with_costs():
    costs = {"validation": (0.1, 1.0, 0.0), "val_loss": (0.1, 0.0, 0.0), "agn": (0.6, 0.0, 1.0)}
    attributes = {f"hpo_gn:costs:{epoch}": costs for epoch in (1, 2, 3)}
    trials = [make_trial(number, attributes=attributes, val_loss=float(number)) for number in range(4)]
    study = make_study(trials)
    return StudyRead.of(study, {trial.number: TrialCost(3, 3.0, 2.4) for trial in study.trials})


def test_a_measure_costs_a_share_of_an_epoch_and_the_trials_it_pays_for():
    section = measure_costs(read_with_costs())
    rows = {row[0]: tuple(row[1:]) for row in section.tables[0].rows}
    # 4 / 1.6 = 2.5 of 4 trials: halfway between the best of two, 2/3 on average, and that of three, 1/4.
    assert rows["agn"] == ("12", "0.6", "60 %", "0", "1", "2.5", "0.46")
    assert rows["validation (shared pass)"][:5] == ("12", "0.1", "10 %", "1", "0")


def test_the_words_leave_out_what_the_validation_loss_costs_itself():
    first, second = measure_costs(read_with_costs()).paragraphs
    assert (
        "takes 1 s and the validation loss 20 % of that. Everything else that is measured costs 50 % of"
        in first
    )
    assert "the budget of these 4 trials pays for 2.7" in second


def test_without_recorded_seconds_the_shares_are_unknown():
    attributes = {"hpo_gn:costs:1": {"agn": (0.6, 0.0, 1.0)}}
    section = measure_costs(StudyRead.of(make_study([make_trial(0, attributes=attributes)])))
    assert "unknown" in section.paragraphs[0]
    assert section.tables[0].rows[0][3] == ""
