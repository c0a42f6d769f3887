"""Commands that are killed in the middle, and others that go on."""

import os
import signal
import subprocess
import sys
import time

import pytest

from hpo_gn.comparison.result import CellResult
from tests.comparison.written import log, write_spec, write_training

pytestmark = pytest.mark.slow
PATIENCE_S = 240


def wait_for(condition):
    end = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.05)


def start(folder):
    return subprocess.Popen(
        [sys.executable, "-m", "hpo_gn.cli", "compare", "small.yaml", "--workers", "1"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def test_after_kill_9_the_same_command_twice_at_once_does_the_rest(tmp_path):
    common = write_training(tmp_path)
    write_spec(tmp_path, training="papers:Slower", seed=3, **common)
    first = start(tmp_path)
    # The probe's two epochs, then some of the first cell's.
    wait_for(lambda: len(log(tmp_path)) >= 5)
    first.kill()
    first.communicate()
    (worker,) = {line[0] for line in log(tmp_path)[2:]}
    wait_for(lambda: not lives(worker))
    stopped_at = len(log(tmp_path))
    assert stopped_at < 12

    both = [start(tmp_path), start(tmp_path)]
    for process in both:
        _, said = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, said
        assert "test accuracy" in said, "one of the two did everything"

    lines = (tmp_path / "runs" / "small" / "cells.jsonl").read_text().splitlines()
    results = list(map(CellResult.from_json, lines))
    assert [each.labels.seed for each in results] == [0, 1, 2]
    assert [(each.failure, each.spent, each.trials) for each in results] == [(None, 8, {"complete": 2})] * 3
    assert (tmp_path / "runs" / "small" / "comparison.html").exists()

    # No epoch of a search was run twice: the killed command's process had stopped at the end of one.
    workers = {line[0] for line in log(tmp_path) if line[2] > 2}
    work = [line for line in log(tmp_path) if line[0] in workers]
    reduced = min(line[3] for line in work)
    searched = [(seed, epoch) for _, seed, epoch, samples in work if samples == reduced]
    assert len(searched) == len(set(searched)) == 3 * 8


def test_ctrl_c_stops_between_epochs_and_leaves_nothing_held(tmp_path):
    common = write_training(tmp_path)
    write_spec(tmp_path, training="papers:Slower", **common)
    process = start(tmp_path)
    wait_for(lambda: len(log(tmp_path)) >= 4)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert "hpo-gn: stopped; nothing is held. Repeat the command to go on." in said
    assert not any(lives(line[0]) for line in log(tmp_path))
