import json
import math

import optuna
import pytest
from optuna.trial import TrialState

from hpo_gn.budget import Ledger
from hpo_gn.errors import DataError, StorageError, StudyError, UnknownNameError
from hpo_gn.failures import DIVERGED
from hpo_gn.history import write_row
from hpo_gn.joining import PROTOCOL
from hpo_gn.measures import Cost, Row
from hpo_gn.recorded import read_table, record
from hpo_gn.retraining import INDEX, ROLE, retraining_name
from hpo_gn.trial import REASON
from tests.recorded.runs import SPACE, a_run, a_table

ROWS = (
    Row({"val_loss": 1 / 3, "spectrum:7": 2.0}, {"val_loss": Cost(1 / 3, 1, 0)}),
    Row({"val_loss": 0.25, "spectrum:7": 3.0}, {"val_loss": Cost(2e-5, 1, 0), "train": Cost(1, 1, 0)}),
)
INITIAL = {"learning_rate": 0.01, "batch_size": 32}


@pytest.fixture(scope="module", autouse=True)
def quiet():
    optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.fixture(scope="module")
def one_run(tmp_path_factory):
    """The URL of a study with one run, for tests that write nothing into it."""
    return made_study(tmp_path_factory.mktemp("one"), [WHOLE])


def made_study(folder, trials, **about):
    """A search's study with trials of (rows, state, user attributes)."""
    url = f"sqlite:///{folder / 'study.db'}"
    study = optuna.create_study(study_name="s", storage=url)
    study.set_user_attr("hpo_gn:experiment", {"epochs": 2, "initial": INITIAL} | about)
    study.set_user_attr("hpo_gn:fingerprint", "f")
    study.set_user_attr(PROTOCOL, {"done": True})
    study.enqueue_trial(INITIAL)
    for rows, state, attributes in trials:
        add(study, rows, state, attributes)
    return url


def add(study, rows, state, attributes):
    trial = study.ask(SPACE)
    for epoch, row in enumerate(rows, 1):
        write_row(trial, epoch, row)
    for name, value in attributes.items():
        trial.set_user_attr(name, value)
    if state is not None:
        study.tell(
            trial, rows[-1].get("val_loss", 0.5) if state == TrialState.COMPLETE else None, state=state
        )


WHOLE = (ROWS, TrialState.COMPLETE, {})


def test_a_studys_runs_come_back_with_their_histories_and_what_they_cost(tmp_path):
    infinite = ({"val_loss": 0.5}, {"val_loss": math.inf})
    url = made_study(
        tmp_path,
        [
            WHOLE,
            (infinite, TrialState.FAIL, {REASON: "diverged at epoch 2: val_loss is inf", DIVERGED: 2}),
            ((), TrialState.FAIL, {REASON: "diverged at epoch 1: NaN"}),
            (ROWS[:1], TrialState.FAIL, {REASON: "3 workers died of it"}),
            (ROWS[:1], TrialState.PRUNED, {REASON: "given up at epoch 1: a lot"}),
            (ROWS[:1], TrialState.COMPLETE, {}),
            (ROWS[:1], None, {}),
        ],
    )
    table = record(url, "s", tmp_path / "s.jsonl.gz", command="hpo-gn search --epochs 2")
    assert [run.number for run in table.runs] == [0, 1, 2]
    assert (table.header["runs"], table.header["other_trials"]) == (3, 4)
    assert (table.header["command"], table.header["fingerprint"]) == ("hpo-gn search --epochs 2", "f")
    whole, second, first = table.runs
    assert whole.completed
    assert [dict(row) for row in whole.history.rows] == [
        {"val_loss": 0.3333333, "spectrum:7": 2.0},
        {"val_loss": 0.25, "spectrum:7": 3.0},
    ]
    assert [row.costs for row in whole.history.rows] == [
        {"val_loss": Cost(0.333, 1, 0)},
        {"val_loss": Cost(2e-5, 1, 0), "train": Cost(1, 1, 0)},
    ]
    assert (second.history.last("val_loss"), second.epochs, second.completed) == (math.inf, 2, False)
    assert (len(first.history), first.epochs, first.reason) == (0, 1, "diverged at epoch 1: NaN")
    assert (table.distributions, whole.params) == (SPACE, INITIAL)


def test_the_same_study_gives_the_same_bytes(tmp_path, one_run):
    files = [tmp_path / name for name in ("a.jsonl.gz", "b.jsonl.gz")]
    for file in files:
        record(one_run, "s", file, command="c")
    assert files[0].read_bytes() == files[1].read_bytes()


def test_seconds_come_from_the_searchs_ledger_where_there_is_one(tmp_path):
    url = made_study(tmp_path, [WHOLE] * 2)
    (run, _) = record(url, "s", tmp_path / "s.jsonl.gz", command="c").runs
    assert (run.training_s, run.measuring_s) == (None, None)
    ledger = Ledger(url, "s", limit=10)
    with ledger.hold(1, epochs=2) as hold:
        for epoch in (1, 2):
            hold.charge(epoch)
            hold.record(epoch, training_s=1.23456, measuring_s=0.5)
    ledger.close()
    (other, run) = record(url, "s", tmp_path / "s.jsonl.gz", command="c").runs
    assert (run.training_s, run.measuring_s) == (2.47, 1.0)
    assert other.training_s is None


def test_the_searchs_own_retrainings_are_the_tests_of_its_winner_and_of_its_initial_settings(tmp_path):
    url = made_study(tmp_path, [WHOLE] * 3)
    alone = optuna.create_study(study_name=retraining_name("s", 1), storage=url)
    add(alone, [{"test_accuracy": 0.25, "test_loss": 0.125}], TrialState.COMPLETE, {ROLE: "winner", INDEX: 0})
    retraining = optuna.create_study(study_name=retraining_name("s", 2), storage=url)
    for role, accuracy in (("winner", 0.75), ("initial", 0.5)):
        row = {"test_accuracy": accuracy, "test_loss": 1 - accuracy}
        add(retraining, [row], TrialState.COMPLETE, {ROLE: role, INDEX: 0})
        add(retraining, [row], TrialState.FAIL, {ROLE: role, INDEX: 1})
    tested = [
        (run.test_accuracy, run.test_loss, run.failed_retrainings)
        for run in record(url, "s", tmp_path / "s.jsonl.gz", command="c").runs
    ]
    assert tested == [((0.5,), (0.5,), 1), ((0.25,), (0.125,), 0), ((0.75,), (0.25,), 1)]


def test_tests_from_a_file_are_written_beside_their_runs(tmp_path):
    url = made_study(tmp_path, [WHOLE] * 2)
    lines = [
        {"number": 1, "test_accuracy": [0.8, 0.9], "test_loss": [0.3, 0.2], "failed": 1},
        {"number": 0, "test_accuracy": [], "test_loss": [], "failed": 3},
    ]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    record(url, "s", tmp_path / "s.jsonl.gz", command="c", tests=tmp_path / "t.jsonl")
    first, second = read_table(tmp_path / "s.jsonl.gz").runs
    assert (first.test_accuracy, first.failed_retrainings, first.tested) == ((), 3, True)
    assert (second.test_accuracy, second.test_loss, second.failed_retrainings) == ((0.8, 0.9), (0.3, 0.2), 1)


LINE = {"number": 0, "test_accuracy": [0.8], "test_loss": [0.3]}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([LINE | {"number": 7}], "run 7 is not recorded"),
        ([LINE, LINE], "run 0 is there twice"),
        ([{"number": 0}], "test_accuracy"),
        ([LINE | {"test_loss": []}], "as many losses as accuracies"),
        ([LINE | {"test_accuracy": [80.0]}], "from 0 to 1"),
        ([LINE | {"test_accuracy": 0.8}], "float"),
        (["a line"], "string indices"),
    ],
)
def test_damaged_tests_are_refused_in_one_line_and_nothing_is_written(tmp_path, one_run, lines, message):
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(DataError, match=f"t.jsonl holds no tests of these runs: .*{message}"):
        record(one_run, "s", tmp_path / "s.jsonl.gz", command="c", tests=tmp_path / "t.jsonl")
    assert not (tmp_path / "s.jsonl.gz").exists()


def test_missing_tests_are_refused(tmp_path, one_run):
    with pytest.raises(DataError, match="there is no file of tests"):
        record(one_run, "s", tmp_path / "s.jsonl.gz", command="c", tests=tmp_path / "t.jsonl")


def test_what_is_no_search_is_refused(tmp_path):
    url = made_study(tmp_path, [(ROWS, None, {})])
    file = tmp_path / "s.jsonl.gz"
    with pytest.raises(DataError, match="no run of study 's' has ended"):
        record(url, None, file, command="c")
    with pytest.raises(UnknownNameError, match="no search is called 't'"):
        record(url, "t", file, command="c")
    with pytest.raises(StorageError, match="there is no database"):
        record(f"sqlite:///{tmp_path / 'none.db'}", "s", file, command="c")
    optuna.create_study(study_name="another", storage=url)
    with pytest.raises(StudyError, match="was not made by a search"):
        record(url, "another", file, command="c")
    assert not file.exists()


def test_the_table_is_that_of_hand_made_runs_in_what_it_says_of_them(tmp_path):
    """So that what is tested on hand-made tables is true of recorded ones."""
    url = made_study(tmp_path, [WHOLE], threads=2)
    header = record(url, None, tmp_path / "s.jsonl.gz", command="c").header
    assert set(a_table(a_run(0, 1.0)).header) <= set(header)
    assert header["hardware"].endswith(", 2 thread(s)")
