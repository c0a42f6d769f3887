"""Worker processes that are really killed and stopped, under the real command."""

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import optuna
import pytest

from hpo_gn import History, Ledger

pytestmark = pytest.mark.slow

TRAINING = '''
import os, time, torch
from pathlib import Path
from torch import nn

LOG = Path(__file__).with_name("log")


class Slow:
    """Writes down every epoch it begins: process, trial's seed, epoch."""

    def __init__(self, config, splits, *, epochs, seed):
        self.seed, self.epoch, self.rate = seed, 0, config["rate"]
        torch.manual_seed(seed)
        self.model = nn.Sequential(nn.Flatten(), nn.Linear(64, splits.classes))

    def run_epoch(self):
        self.epoch += 1
        with LOG.open("a") as file:
            file.write(f"{os.getpid()} {self.seed} {self.epoch}\\n")
        time.sleep(0.3)
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter += self.rate * self.epoch

    def state_dict(self):
        return {"model": self.model.state_dict(), "epoch": self.epoch}

    def load_state_dict(self, state):
        self.model.load_state_dict(state["model"])
        self.epoch = state["epoch"]
'''

SPACE = """
hyperparameters:
  - {type: uniform_float, name: rate, lower: 0.001, upper: 1.0, default_value: 0.01, log: true}
"""


class Command:
    """One `hpo-gn search` in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "own.py").write_text(TRAINING)
        (folder / "space.yaml").write_text(textwrap.dedent(SPACE))

    def start(self, *more: str) -> subprocess.Popen:
        command = [
            sys.executable,
            "-m",
            "hpo_gn.cli",
            "search",
            "--training",
            "own:Slow",
            "--space",
            "space.yaml",
        ]
        command += [
            "--budget",
            "32",
            "--epochs",
            "4",
            "--round-size",
            "4",
            "--searcher",
            "random",
            "--seeds",
            "1",
        ]
        command += ["--workers", "2", "--study", "s", "--output", "out", *more]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, cwd=self.folder, stdout=pipe, stderr=pipe, text=True, start_new_session=True
        )

    def epochs_run(self) -> list[tuple[int, int, int]]:
        log = self.folder / "log"
        lines = log.read_text().splitlines() if log.exists() else []
        return [tuple(map(int, line.split())) for line in lines if line.count(" ") == 2]

    def wait_for(self, condition) -> list[tuple[int, int, int]]:
        end = time.monotonic() + 120
        while time.monotonic() < end:
            if condition(run := self.epochs_run()):
                return run
            time.sleep(0.02)
        raise TimeoutError

    def account(self):
        return Ledger(f"sqlite:///{self.folder}/out/study.db", "s").account()

    def query(self, statement: str) -> list[tuple]:
        with closing(sqlite3.connect(self.folder / "out" / "study.db")) as connection:
            return connection.execute(statement).fetchall()

    def trials(self):
        storage = optuna.storages.RDBStorage(f"sqlite:///{self.folder}/out/study.db")
        trials = optuna.load_study(study_name="s", storage=storage).get_trials()
        storage.remove_session()
        storage.engine.dispose()
        return trials


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    command = Command(tmp_path_factory.mktemp("whole") / "x")
    process = command.start()
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    return command


def test_uninterrupted_search_spends_its_budget(uninterrupted):
    assert len(uninterrupted.trials()) == 8
    assert (uninterrupted.account().spent, uninterrupted.account().held) == (32, 0)
    assert len(uninterrupted.epochs_run()) == 32 + 2 * 4


def test_killed_worker_is_replaced_and_its_trial_continues(tmp_path, uninterrupted):
    command = Command(tmp_path / "x")
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
    command = Command(tmp_path / "x")
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
    command = Command(tmp_path / "x")
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
    command = Command(tmp_path / "x")
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
