import numpy as np
import pytest

from benchmarks.searchers.__main__ import report, run, run_missing
from benchmarks.searchers.contestants import contestants
from benchmarks.searchers.runs import Run, Runs, append, read
from tests.benchmarks.searchers.made import made_table

RUN = Run("made/one", "random", 0, 4, 400, [(1, 5.0), (9, 2.0), (40, 0.5)])


@pytest.mark.parametrize(("evaluations", "regret"), [(1, 5), (2, 5), (3, 2), (9, 2), (10, 0.5), (100, 0.5)])
def test_a_regret_is_that_of_the_incumbent_of_the_moment(evaluations, regret):
    assert RUN.regret(evaluations) == regret


def test_a_run_comes_back_as_it_was_written(tmp_path):
    path = tmp_path / "runs.jsonl"
    assert read(path) == []
    found = run("random", contestants()["random"], made_table(), 3)
    append(path, found)
    append(path, RUN)
    first, second = read(path)
    assert vars(first) == vars(found) | {"curve": [list(each) for each in found.curve]}
    assert second.regret(3) == RUN.regret(3)


def test_what_is_finished_is_not_run_again(tmp_path):
    asked = []

    def contestant(table, seed, evaluations):
        asked.append((table.name, seed))
        evaluations.evaluate({"rate": seed, "width": 0, "activation": "relu"})

    path = tmp_path / "runs.jsonl"
    tables = [made_table(), made_table("made/two")]
    run_missing(tables, {"some": contestant}, 2, path)
    everything = [(name, seed) for seed in range(2) for name in ("made/one", "made/two")]
    assert asked == everything
    text = path.read_text()
    path.write_text("".join(text.splitlines(keepends=True)[:-1]))
    run_missing(tables, {"some": contestant}, 2, path)
    assert asked == [*everything, everything[-1]]
    assert path.read_text() == text


def test_pairs_are_of_equal_tables_and_seeds():
    runs = Runs(
        [
            *(Run("a/x", "ours", seed, 1, 9, [(1, float(seed))]) for seed in range(3)),
            *(Run("a/x", "theirs", seed, 1, 9, [(1, 10.0)]) for seed in range(1, 4)),
            Run("a/y", "ours", 0, 1, 9, [(1, 0.0)]),
        ]
    )
    assert runs.tables_of(["ours"]) == ["a/x", "a/y"]
    assert runs.tables_of(["ours", "theirs"]) == ["a/x"]
    (differences,) = runs.differences("ours", "theirs", ["a/x"], 1)
    np.testing.assert_array_equal(differences, [-9, -8])


def test_the_report_is_written_beside_the_runs(tmp_path):
    path = tmp_path / "runs.jsonl"
    report(path)
    assert list(tmp_path.iterdir()) == []
    for seed in range(3):
        for name, regret in (("cma-es", 0.5), ("random", 1.0 + seed / 10)):
            append(path, Run("made/one", name, seed, 4, 400, [(1, 2.0), (80, regret)]))
    append(path, Run("other/two", "random", 0, 4, 400, [(1, 2.0)]))
    report(path)
    assert (tmp_path / "regret.png").read_bytes().startswith(b"\x89PNG")
    lines = (tmp_path / "summary.txt").read_text().splitlines()
    (pair,) = (line.split() for line in lines if line.startswith("cma-es  random"))
    assert pair[2:6] == ["1", "3", "-0.600", "[-0.700,"]
    assert pair[-8:] == ["100", "/", "0", "/", "0", "ours", "is", "better"]
