"""Wrong space files and command lines: exit code 2 and one line, no traceback, no hang."""

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest

from tests.chaos import specs
from tests.chaos.generated import generate
from tests.chaos.hand_made import HAND_MADE
from tests.chaos.specs import (
    HANG,
    ONE_LINE,
    OTHERWISE,
    RIGHT,
    TRACEBACK,
    Case,
    Counts,
    no_trials,
    run,
    run_all,
)

GENERATED = 500


@pytest.fixture(scope="module", autouse=True)
def stopped() -> Iterator[None]:
    with no_trials():
        yield


@pytest.mark.parametrize("name", HAND_MADE)
def test_a_line_made_by_hand(name: str) -> None:
    ended = run(HAND_MADE[name])
    assert ended.how == ONE_LINE, ended.said
    assert "secret" not in ended.said


def test_there_are_lines_enough() -> None:
    assert len(HAND_MADE) >= 60


def test_generated_lines() -> None:
    counts = run_all(map(generate, range(GENERATED)))
    assert not counts.examples, "\n".join(counts.examples)
    assert counts.ends[ONE_LINE] > 0.8 * GENERATED
    assert counts.ends[RIGHT] > 0


def test_a_case_is_a_function_of_its_number() -> None:
    assert [generate(number) for number in range(50)] == [generate(number) for number in range(50)]


@pytest.mark.parametrize(
    "case",
    [
        Case(("search", "--budget", "9", "--epochs", "1", "--searcher", "random")),
        Case(("plan", "--searcher", "random")),
        Case(("worker", "--storage", "sqlite:///none.db", "--wait", "1")),
        Case(("--version",)),
    ],
    ids=str,
)
def test_a_right_line_stops_where_its_work_would_begin(case: Case) -> None:
    began = time.monotonic()
    assert run(case).how == RIGHT
    assert time.monotonic() - began < specs.HANGS_AFTER_S


@pytest.mark.parametrize(
    ("says", "how"),
    [
        ("raise RuntimeError('no line')", TRACEBACK),
        ("print('more'); raise ValueError", TRACEBACK),
        ("import warnings; warnings.warn('mind'); raise SystemExit(2)", OTHERWISE),
        ("print('mind'); raise SystemExit(2)", OTHERWISE),
        ("raise SystemExit(3)", OTHERWISE),
        ("raise SystemExit(0)", RIGHT),
        ("import time; time.sleep(30)", HANG),
    ],
)
def test_each_way_to_end_is_told_from_the_others(says: str, how: str) -> None:
    class Command:
        def main(self, **_: object) -> None:
            exec(says)

    with patch.object(specs, "_command", Command), patch.object(specs, "HANGS_AFTER_S", 0.5):
        ended = run(Case(()))
    assert ended.how == how
    counts = Counts()
    counts.add(Case(()), ended)
    assert len(counts.examples) == (how != RIGHT)


def test_the_command_itself(tmp_path: Path) -> None:
    """In a process of its own, as a user runs it."""
    (tmp_path / "space.yaml").write_text("hyperparameters: [{name: x, type: uniform_float, lower: .nan}]")
    done = subprocess.run(
        [sys.executable, "-m", "hpo_gn.cli", "search", "--space", "space.yaml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    line = (
        "hpo-gn: space.yaml: lower of 'x' must be a finite number up to 2⁵³ of at most 13 decimals, got nan\n"
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "", line)
