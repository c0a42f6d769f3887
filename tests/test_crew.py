"""Worker processes that are really killed and stopped, under the real command."""

import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from hpo_gn import History
from tests.slow_search import SlowSearch

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    command = SlowSearch(tmp_path_factory.mktemp("whole") / "x")
    process = command.start()
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    return command


def test_uninterrupted_search_spends_its_budget(uninterrupted):
    assert len(uninterrupted.trials()) == 8
    assert (uninterrupted.account().spent, uninterrupted.account().held) == (32, 0)
    assert len(uninterrupted.epochs_run()) == 32 + 2 * 4


def test_killed_worker_is_replaced_and_its_trial_continues(tmp_path, uninterrupted):
    command = SlowSearch(tmp_path / "x")
    process = command.start()
    run = command.wait_for(lambda run: any(epoch == 3 for _, _, epoch in run))
    victim, seed, _ = next(line for line in run if line[2] == 3)
    os.kill(victim, signal.SIGKILL)
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr

    epochs_of_victim = [epoch for _, other, epoch in command.epochs_run() if other == seed]
    assert epochs_of_victim == [1, 2, 3, 3, 4]  # from its last checkpoint, not from the start
    account = command.account()
    assert account.held == 0
    assert account.spent <= account.limit == 32
    # Epoch 3 was charged twice, so the last trial does not fit; all that ran gave what it always gives.
    trials, whole = command.trials(), uninterrupted.trials()
    finished = [trial for trial in trials if trial.state.name == "COMPLETE"]
    assert [trial.value for trial in finished] == [trial.value for trial in whole[: len(finished)]]
    assert len(finished) == 7
    assert History.of(trials[0]) == History.of(whole[0])
    searched = Counter(seed for _, seed, _ in command.epochs_run())
    assert account.spent == sum(list(searched.values())[:-1])  # the last seed is the retraining's


def test_ctrl_c_leaves_nothing_held_and_repeating_goes_on(tmp_path, uninterrupted):
    command = SlowSearch(tmp_path / "x")
    process = command.start()
    command.wait_for(lambda run: any(epoch == 2 for _, _, epoch in run))
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to every process of the command
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "nothing is held. Repeat the command to go on." in stderr
    assert "Traceback" not in stderr
    assert command.account().held == 0
    before = command.account().spent
    assert before == len(command.epochs_run())

    process = command.start()
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    assert [t.params for t in command.trials()] == [t.params for t in uninterrupted.trials()]
    assert [t.value for t in command.trials()] == [t.value for t in uninterrupted.trials()]
    assert command.account().spent == 32


def test_workers_end_when_the_command_is_killed(tmp_path):
    command = SlowSearch(tmp_path / "x")
    process = command.start()
    run = command.wait_for(lambda run: len({pid for pid, _, _ in run}) == 2)
    process.kill()
    process.communicate()
    end = time.monotonic() + 30
    workers = {pid for pid, _, _ in run}
    while any(_alive(pid) for pid in workers) and time.monotonic() < end:
        time.sleep(0.1)
    assert not any(_alive(pid) for pid in workers)
    assert command.account().held == 0


def test_a_killed_command_goes_on_at_once(tmp_path, uninterrupted):
    command = SlowSearch(tmp_path / "x")
    process = command.start("--workers", "1")
    command.wait_for(lambda run: any(epoch == 2 for _, _, epoch in run))
    process.kill()
    process.communicate()
    assert command.account().held > 0
    process = command.start("--workers", "1")
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    reasons = command.query("SELECT reason FROM hpo_gn_holds WHERE reason != 'finished'")
    assert reasons == [("its worker died",)]  # settled at once, not when its lease lapsed
    values = [trial.value for trial in command.trials() if trial.value is not None]
    assert values == [trial.value for trial in uninterrupted.trials()][: len(values)]


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
