import gzip
import json
import math

import optuna
import pytest
from optuna.trial import TrialState

from benchmarks.give_up.recorded import read, record
from benchmarks.give_up.replay_figures import FOLDER
from hpo_gn.budget import Ledger
from hpo_gn.errors import DataError, StorageError
from hpo_gn.history import write_row
from hpo_gn.measures import Cost, Row
from hpo_gn.trial import REASON


def recorded_study(tmp_path, trials):
    url = f"sqlite:///{tmp_path / 'study.db'}"
    study = optuna.create_study(study_name="s", storage=url)
    study.set_user_attr("hpo_gn:experiment", {"epochs": 2})
    study.set_user_attr("hpo_gn:fingerprint", "f")
    for rows, state, reason in trials:
        trial = study.ask({"learning_rate": optuna.distributions.FloatDistribution(1e-7, 0.5, log=True)})
        for epoch, row in enumerate(rows, 1):
            write_row(trial, epoch, row)
        if reason:
            trial.set_user_attr(REASON, reason)
        if state is not None:
            study.tell(trial, rows[-1]["val_loss"] if state == TrialState.COMPLETE else None, state=state)
    return url


ROWS = (
    Row({"val_loss": 1 / 3, "spectrum:7": 2.0}, {"val_loss": Cost(1 / 3, 1, 0)}),
    Row({"val_loss": 0.25, "spectrum:7": 3.0}, {"val_loss": Cost(2e-5, 1, 0), "train": Cost(1, 1, 0)}),
)


def test_a_studys_runs_come_back_with_their_histories_and_what_they_cost(tmp_path):
    infinite = ({"val_loss": 0.5}, {"val_loss": math.inf})
    trials = [
        (ROWS, TrialState.COMPLETE, None),
        (infinite, TrialState.FAIL, "diverged at epoch 2: val_loss is inf"),
        ((), TrialState.FAIL, "diverged at epoch 1: NaN"),
        (ROWS[:1], TrialState.FAIL, "3 workers died of it"),
        (ROWS[:1], None, None),
    ]
    url = recorded_study(tmp_path, trials)
    table = record(url, "s", tmp_path / "s.jsonl.gz", command="hpo-gn search --epochs 2")
    assert [run.number for run in table.runs] == [0, 1, 2]
    assert (table.header["runs"], table.header["other_trials"]) == (3, 2)
    assert table.header["command"] == "hpo-gn search --epochs 2"
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
    assert list(table.distributions) == list(whole.params) == ["learning_rate"]


def test_the_same_study_gives_the_same_bytes(tmp_path):
    url = recorded_study(tmp_path, [(ROWS, TrialState.COMPLETE, None)])
    files = [tmp_path / name for name in ("a.jsonl.gz", "b.jsonl.gz")]
    for file in files:
        record(url, "s", file, command="c")
    assert files[0].read_bytes() == files[1].read_bytes()


def test_seconds_come_from_the_searchs_ledger_where_there_is_one(tmp_path):
    url = recorded_study(tmp_path, [(ROWS, TrialState.COMPLETE, None)] * 2)
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


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "holds no recorded runs"),
        ([{"format": "another"}], "must begin with the header"),
        ([{"format": "hpo_gn recorded runs 1", "runs": 2}], "must hold 2 runs, got 0"),
        ([{"format": "hpo_gn recorded runs 1", "runs": 1}, {"number": 1}], "KeyError"),
        ([["a list"]], "AttributeError"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(tmp_path, lines, message):
    file = tmp_path / "s.jsonl.gz"
    file.write_bytes(gzip.compress("".join(json.dumps(line) + "\n" for line in lines).encode()))
    with pytest.raises(DataError, match=message) as error:
        read(file)
    assert "\n" not in str(error.value)


def test_a_missing_and_a_torn_file_are_refused(tmp_path):
    file = tmp_path / "s.jsonl.gz"
    with pytest.raises(DataError, match="FileNotFoundError"):
        read(file)
    file.write_bytes(gzip.compress(b"{}")[:-4])
    with pytest.raises(DataError, match="EOFError"):
        read(file)


def test_a_study_without_runs_and_no_study_are_refused(tmp_path):
    url = recorded_study(tmp_path, [(ROWS, None, None)])
    with pytest.raises(DataError, match="no run of study 's' has ended"):
        record(url, "s", tmp_path / "s.jsonl.gz", command="c")
    with pytest.raises(StorageError):
        record(f"sqlite:///{tmp_path / 'none.db'}", "s", tmp_path / "s.jsonl.gz", command="c")


TABLES = sorted(FOLDER.glob("*.jsonl.gz"))


@pytest.mark.parametrize("file", TABLES, ids=lambda file: file.name)
def test_a_published_table_is_small_and_whole(file):
    table = read(file)
    assert file.stat().st_size < 1_000_000
    assert all(len(run.history) == table.epochs for run in table.runs if run.completed)
    assert all(set(run.params) == set(table.distributions) for run in table.runs)
    assert "/" not in table.header["command"]
