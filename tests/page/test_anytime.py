from datetime import datetime, timedelta

from optuna.trial import TrialState

from hpo_gn.page.anytime import anytime, moments
from hpo_gn.page.study import StudyRead, TrialCost
from tests.page.studies import make_study, make_trial


def ended(trial, second):
    trial.datetime_complete = datetime(2020, 1, 1) + timedelta(seconds=second)
    return trial


def test_trials_count_in_the_order_in_which_they_ended():
    trials = [
        ended(make_trial(0, value=3.0), 5),
        ended(make_trial(1, value=2.0), 1),
        ended(make_trial(2, TrialState.FAIL, epochs=1), 2),
        ended(make_trial(3, value=1.0), 9),
        ended(make_trial(4, value=0.5, epochs=2), 3),
    ]
    found = moments(StudyRead.of(make_study(trials)))
    assert [moment.trial.number for moment in found] == [1, 0, 3]
    assert [moment.best.number for moment in found] == [1, 1, 3]
    # The failed trial and the shorter one are paid for, too.
    assert [moment.epochs for moment in found] == [3, 3 + 1 + 2 + 3, 3 + 1 + 2 + 3 + 3]
    assert [moment.seconds for moment in found] == [None] * 3


def test_seconds_are_of_all_workers_together():
    study = make_study([ended(make_trial(0), 1), ended(make_trial(1), 2)])
    costs = {number: TrialCost(3, 2.0, 0.5) for number in range(2)}
    read = StudyRead.of(study, costs)
    assert [moment.seconds for moment in moments(read)] == [2.5, 5.0]
    section = anytime(read)
    assert len(section.figures) == 2
    assert "trial 1 with 1, was found after 6 of the 6 GPU×epochs spent" in section.paragraphs[0]
