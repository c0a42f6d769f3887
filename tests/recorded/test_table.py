import gzip
import json
import math
from pathlib import Path

import pytest

from hpo_gn.errors import DataError
from hpo_gn.measures import Cost, Row
from hpo_gn.recorded import read_table, write_table
from tests.recorded.runs import SPACE, a_run, a_table

PUBLISHED = sorted((Path(__file__).parents[2] / "benchmarks" / "results").glob("*/*.jsonl.gz"))

WHOLE = a_run(
    0, 1 / 3, 0.25, 0.2, 0.1, test_accuracy=(0.9, 0.91), test_loss=(0.5, 0.25), failed_retrainings=1
)
DIVERGED = a_run(3, 0.5, math.inf, reason="diverged at epoch 2: val_loss is inf")
AT_ONCE = a_run(5, reason="diverged at epoch 1: NaN", epochs=1, training_s=None, measuring_s=None)


def packed(*lines):
    return gzip.compress("".join(json.dumps(line) + "\n" for line in lines).encode())


def lines_of(file):
    return [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]


def test_what_is_written_is_read(tmp_path):
    file = tmp_path / "t.jsonl.gz"
    write_table(a_table(WHOLE, DIVERGED, AT_ONCE), file)
    whole, diverged, at_once = (table := read_table(file)).runs
    assert (table.epochs, table.distributions) == (4, SPACE)
    assert table.header["runs"] == 3
    assert whole.history.rows[0]["val_loss"] == 0.3333333
    assert whole.history.rows[1:] == WHOLE.history.rows[1:]
    assert whole.history.rows[0].costs == WHOLE.history.rows[0].costs
    assert (whole.test_accuracy, whole.test_loss, whole.failed_retrainings) == ((0.9, 0.91), (0.5, 0.25), 1)
    assert [run.tested for run in table.runs] == [True, False, False]
    assert (diverged.history.last("val_loss"), diverged.completed, diverged.epochs) == (math.inf, False, 2)
    assert (diverged.training_s, diverged.measuring_s) == (4.0, 2.0)
    assert (len(at_once.history), at_once.epochs, at_once.training_s) == (0, 1, None)
    assert at_once.reason == "diverged at epoch 1: NaN"


def test_numbers_are_short_and_the_same_table_gives_the_same_bytes(tmp_path):
    files = [tmp_path / name for name in ("a.jsonl.gz", "b.jsonl.gz")]
    run = a_run(0, *[1 / 7] * 4, training_s=1.23456)
    run.history.rows[0].add_cost("validation", Cost(2 / 3, 0, 0))
    for file in files:
        write_table(a_table(run), file)
    assert files[0].read_bytes() == files[1].read_bytes()
    (_, line) = lines_of(files[0])
    assert line["columns"]["val_loss"] == [0.1428571] * 4
    assert line["costs"]["validation"][0] == [1.17, 1.0, 0.0]
    assert (line["training_s"], "test_accuracy" in line) == (1.23, False)
    assert sorted(tmp_path.iterdir()) == files


def test_a_row_may_lack_a_column(tmp_path):
    run = a_run(0, 0.4, 0.3, 0.2, 0.1)
    rows = [Row({"val_loss": 0.1} | ({"extra": 1.0} if epoch == 2 else {})) for epoch in range(4)]
    object.__setattr__(run.history, "rows", tuple(rows))
    write_table(a_table(run), tmp_path / "t.jsonl.gz")
    (again,) = read_table(tmp_path / "t.jsonl.gz").runs
    assert [dict(row) for row in again.history.rows] == [dict(row) for row in rows]


def test_points_are_those_of_the_unit_cube():
    table = a_table(a_run(0, *[1.0] * 4, learning_rate=1e-4), a_run(1, *[1.0] * 4, learning_rate=1e-2))
    assert table.points[:, 0] == pytest.approx([0.0, 0.5])
    assert table.points.shape == (2, 2)
    assert a_table().points.shape == (0, 2)


HEADER = a_table().header | {"runs": 1}
LINE = {
    "number": 0,
    "params": WHOLE.params,
    "epochs": 4,
    "reason": None,
    "columns": {"val_loss": [0.4, 0.3, 0.2, 0.1]},
    "costs": {},
}


def test_the_line_that_the_next_test_damages_can_be_read(tmp_path):
    (tmp_path / "t.jsonl.gz").write_bytes(packed(HEADER, LINE))
    assert read_table(tmp_path / "t.jsonl.gz").runs[0].history.last("val_loss") == 0.1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (packed(), "is empty"),
        (packed({"format": "another"}), "must begin with the header of 'hpo_gn recorded runs 1'"),
        (packed(["a list"]), "must begin with the header|AttributeError"),
        (packed(HEADER | {"runs": 2}, LINE), "must hold 2 runs, got 1"),
        (packed(HEADER, {"number": 1}), "KeyError"),
        (packed(HEADER, LINE | {"surprise": 1}), "surprise"),
        (packed(HEADER, LINE | {"columns": {"val_loss": [1, 2], "agn": [1]}}), "ValueError"),
        (packed(HEADER, LINE | {"columns": {"val_loss": [0.4, 0.3]}}), "run 0 must have 4 epochs, got 2"),
        (packed(HEADER, LINE | {"params": {"learning_rate": 0.1}}), "batch_size must be given"),
        (packed(HEADER, LINE | {"params": WHOLE.params | {"batch_size": 65}}), "batch_size must be in"),
        (packed(HEADER | {"space": {"x": "{}"}}, LINE), "holds no recorded runs"),
        (packed({"format": HEADER["format"], "runs": 0}), "KeyError: 'space'"),
        (packed(HEADER, LINE)[:-4], "EOFError"),
        (packed(HEADER, LINE)[:40] + b"\0" * 40 + packed(HEADER, LINE)[80:], "holds no recorded runs: error"),
        (b"number,val_loss\n0,0.1\n", "BadGzipFile"),
        (gzip.compress(b"\xff\xfe"), "UnicodeDecodeError"),
        (gzip.compress(b"{"), "JSONDecodeError"),
    ],
    ids=lambda value: "content" if isinstance(value, bytes) else value,
)
def test_what_is_no_table_is_refused_in_one_line(tmp_path, content, message):
    file = tmp_path / "t.jsonl.gz"
    file.write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        read_table(file)
    assert "\n" not in str(error.value)
    assert "t.jsonl.gz" in str(error.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(DataError, match="there is no recorded table"):
        read_table(tmp_path / "none.jsonl.gz")
    with pytest.raises(DataError, match="IsADirectoryError"):
        read_table(tmp_path)


@pytest.mark.parametrize("file", PUBLISHED, ids=lambda file: f"{file.parent.name}-{file.name}")
def test_a_published_table_is_small_and_whole(file):
    table = read_table(file)
    assert file.stat().st_size < 1_000_000
    assert all(len(run.history) == table.epochs for run in table.runs if run.completed)
    assert all(set(run.params) == set(table.distributions) for run in table.runs)
    assert "/" not in table.header["command"]
