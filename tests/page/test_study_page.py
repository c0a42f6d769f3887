import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.trial import TrialState, create_trial

from hpo_gn.errors import StudyError
from hpo_gn.page.document import write_document
from hpo_gn.page.study import StudyRead, TrialCost
from hpo_gn.page.study_page import study_sections
from tests.page.studies import HOSTILE, IDENTITY, all_sorts, make_study, make_trial


def a_row(**columns):
    return create_trial(value=1.0, user_attrs={"hpo_gn:epoch:1": columns})


@pytest.mark.parametrize(
    ("trials", "identity", "verdict"),
    [
        ([], IDENTITY, "No verdict: no trial with a History was completed, of no trials."),
        ([make_trial(0, TrialState.RUNNING)], IDENTITY, "No verdict: no trial with a History was completed"),
        (
            [make_trial(i, TrialState.FAIL, epochs=i) for i in range(3)],
            IDENTITY,
            "No verdict: no trial with a History was completed, of 3 trials.",
        ),
        ([make_trial(0)], IDENTITY, "No difference: Mine() chose trial 0"),
        (
            [make_trial(0), make_trial(1, value=5.0)],
            IDENTITY,
            "Unknown: Mine() chose trial 0 instead of trial 1",
        ),
        ([make_trial(0), make_trial(1)], None, "No difference: the study's objective chose trial 1"),
        ([a_row(val_loss=1.0)], None, "No difference: every objective would have chosen trial 0"),
        ([a_row(strange=1.0)], None, "No verdict: this study lacks a validation loss"),
    ],
)
def test_a_page_is_made_of_any_study(tmp_path, trials, identity, verdict):
    found, sections = study_sections(make_study(trials, identity=identity))
    assert found.sentence.startswith(verdict)
    files = write_document(tmp_path, "any", "any", sections, found.sentence)
    assert [section.title in files[0].read_text() for section in sections] == [True] * 9


@pytest.mark.parametrize("trials", [[], [create_trial(value=1.0)], [create_trial(state=TrialState.FAIL)]])
def test_a_strangers_study_without_history_is_refused(trials):
    with pytest.raises(StudyError, match=r"study 'theirs' has no History: hpo_gn trained none of its trials"):
        study_sections(make_study(trials, "theirs", identity=None))


def test_a_study_that_is_maximized_has_its_largest_value_chosen():
    study = optuna.create_study(direction="maximize")
    study.add_trials([make_trial(0, value=0.2), make_trial(1, value=0.9), make_trial(2, value=0.5)])
    found, _ = study_sections(study)
    assert "chose trial 1 instead of trial 2" in found.sentence


def test_what_the_page_says_of_all_sorts_of_trials(tmp_path):
    verdict, sections = study_sections(make_study(all_sorts(), HOSTILE))
    text = write_document(tmp_path, "all", HOSTILE, sections, verdict.sentence)[1].read_text()
    for said in (
        "25 trials ended, 1 not yet",
        "| fail | 3 | 3 |",
        "| pruned | 1 | 1 |",
        "21 configurations that can be compared",
        "4 others, faint",
        "Of 20 trials, 12 are well fitted (training accuracy at least 88 %",
        "gave up 1 of 25 trials",
        "No trial recorded what its measures cost.",
        "No ledger came with this study.",
    ):
        assert said in text


def test_only_completed_trials_with_the_most_epochs_are_judged():
    trials = [make_trial(0), make_trial(9, epochs=2), make_trial(1), make_trial(5, TrialState.PRUNED)]
    read = StudyRead.of(make_study(trials))
    assert [trial.number for trial in read.judged] == [0, 2]


def test_a_trial_costs_its_own_epochs_unless_somebody_recorded_more():
    continued = make_trial(1, epochs=3, attributes={"hpo_gn:continues": 0})
    trials = [make_trial(0, epochs=2), continued, make_trial(2)]
    read = StudyRead.of(make_study(trials), {2: TrialCost(3.5, 1.0, 0.5)})
    assert [read.trained(trial) for trial in read.trials] == [2, 1, 3]
    assert [read.cost(trial) for trial in read.trials] == [
        TrialCost(2),
        TrialCost(1),
        TrialCost(3.5, 1.0, 0.5),
    ]
    assert read.cost(read.trials[2]).seconds == 1.5
    assert read.cost(read.trials[0]).seconds is None


def test_from_scratch_a_promoted_trial_costs_all_its_epochs():
    continued = make_trial(1, epochs=3, attributes={"hpo_gn:continues": 0})
    read = StudyRead.of(
        make_study([make_trial(0), continued], identity=IDENTITY | {"from_scratch": True, "gpus": 2})
    )
    assert read.cost(read.trials[1]) == TrialCost(6)


def test_a_space_that_changed_on_the_way_is_drawn():
    one = create_trial(
        value=1.0,
        params={"x": 0.5},
        distributions={"x": FloatDistribution(0, 1)},
        user_attrs={"hpo_gn:epoch:1": {"val_loss": 1.0}},
    )
    other = create_trial(
        value=2.0,
        params={"y": 2.0},
        distributions={"y": FloatDistribution(1, 4, log=True)},
        user_attrs={"hpo_gn:epoch:1": {"val_loss": 2.0}},
    )
    _, sections = study_sections(make_study([one, other]))
    rows = [tuple(row) for table in sections[0].tables for row in table.rows]
    assert ("x", "0 to 1", "") in rows
    assert ("y", "1 to 4, logarithmic", "") in rows
