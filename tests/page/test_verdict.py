import math
from random import Random

import pytest
from scipy.stats import ttest_rel

from hpo_gn.page.candidates import Pick, picks
from hpo_gn.page.retrained import Retests, pair
from hpo_gn.page.study import StudyRead
from hpo_gn.page.verdict import judge, verdict
from tests.page.studies import make_study, make_trial

STUDY = make_study([make_trial(number, value=abs(number - 2) + 1.0) for number in range(6)])
OURS, BASE = (Pick(STUDY.trials[number], {name: ()}) for number, name in ((2, "mine"), (5, "val-loss")))
MIDDLE = Retests({0: 0.90, 1: 0.91, 2: 0.92})


def retests(*accuracies, **counts):
    return Retests(dict(enumerate(accuracies)), **counts)


@pytest.mark.parametrize(
    ("ours", "claim"),
    [
        (retests(0.95, 0.97, 0.96), "helped"),
        (retests(0.85, 0.87, 0.86), "hurt"),
        (retests(0.91, 0.90, 0.92), "no evidence"),
        (retests(0.99, 0.80, 0.95), "no evidence"),
        (retests(0.95), "unknown"),
        (retests(0.95, 0.97, failures=1), "unknown"),
        (retests(0.95, 0.97, unfinished=1), "unknown"),
        (Retests(), "unknown"),
    ],
)
def test_a_choice_is_judged_by_its_interval(ours, claim):
    found = judge(OURS, BASE, {2: ours, 5: MIDDLE})
    assert found.claim == claim
    assert found.sentence.startswith("trial 2 instead of trial 5")


def test_the_interval_is_students_for_pairs():
    ours = retests(0.95, 0.97, 0.99)
    expected = ttest_rel(
        list(ours.accuracies.values()), list(MIDDLE.accuracies.values())
    ).confidence_interval()
    assert pair(ours, MIDDLE).interval == pytest.approx((expected.low, expected.high))


def test_pairs_are_of_the_same_seed():
    found = pair(Retests({2: 0.5, 0: 0.9}), Retests({0: 0.8, 1: 0.1, 2: 0.1}))
    assert found.differences == pytest.approx((0.1, 0.4))


def test_several_comparisons_widen_the_interval():
    one, four = (pair(retests(0.95, 0.97, 0.99), MIDDLE, count) for count in (1, 4))
    assert four.confidence == pytest.approx(1 - 0.05 / 4)
    assert four.interval[0] < one.interval[0] < one.interval[1] < four.interval[1]


def test_the_same_choice_needs_no_retraining():
    found = judge(BASE, BASE, {})
    assert (found.claim, found.paired) == ("same choice", None)


@pytest.mark.parametrize(
    ("ours", "opening"),
    [
        (
            retests(0.95, 0.97, 0.96),
            "Helped: Mine() chose trial 2 instead of trial 5: test accuracy 96.00 ± 1.00 %",
        ),
        (retests(0.85, 0.87, 0.86), "Hurt: "),
        (retests(0.91, 0.90, 0.92), "No evidence that it helped or hurt: "),
        (Retests(), "Unknown: Mine() chose trial 2 instead of trial 5, but trial 2 is not retrained."),
    ],
)
def test_a_study_of_another_objective_is_compared_with_the_validation_loss(ours, opening):
    read = StudyRead.of(STUDY)
    assert verdict(read, picks(read), {2: ours, 5: MIDDLE}).sentence.startswith(opening)


def by_loss():
    """A study of the validation loss in which the smallest AGN is trial 0's."""
    trials = [make_trial(number, value=1 / (number + 1), val_loss=1 / (number + 1)) for number in range(6)]
    return StudyRead.of(make_study(trials))


@pytest.mark.parametrize(
    ("others", "opening"),
    [
        ({}, "Unknown whether another objective would have helped: "),
        ({0: retests(0.95, 0.961, 0.97)}, "Another objective would have helped (agn-"),
        ({0: retests(0.85, 0.87, 0.86)}, "No evidence that another objective would have helped: "),
        ("all", "Any other objective would have hurt: "),
    ],
)
def test_a_study_of_the_validation_loss_is_compared_with_every_other(others, opening):
    read = by_loss()
    chosen = picks(read)
    bad = {number: retests(0.10, 0.11, 0.12) for number in chosen.trials if number != 5}
    found = verdict(read, chosen, {5: MIDDLE} | (bad if others == "all" else others))
    assert found.sentence.startswith(opening)
    assert "the search minimized the validation loss and chose trial 5" in found.sentence
    assert len(found.judged) == len(chosen.picks) - 1 >= 1


def test_where_nothing_differs_it_is_wrong_as_often_as_it_says():
    random = Random(0)

    def three():
        return retests(*(random.gauss(0.9, 0.01) for _ in range(3)))

    claims = [judge(OURS, BASE, {2: three(), 5: three()}).claim for _ in range(2000)]
    wrong = sum(claim != "no evidence" for claim in claims) / len(claims)
    assert abs(wrong - 0.05) < 4 * math.sqrt(0.05 * 0.95 / len(claims))
