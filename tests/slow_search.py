"""A search in processes of its own, for tests that kill, stop and join them."""

import sqlite3
import subprocess
import sys
import textwrap
import time
from contextlib import closing
from pathlib import Path

import optuna

from hpo_gn import Ledger

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


class SlowSearch:
    """One `hpo-gn search`, slow enough to be disturbed, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "own.py").write_text(TRAINING)
        (folder / "space.yaml").write_text(textwrap.dedent(SPACE))

    def start(self, *more: str) -> subprocess.Popen:
        """8 trials of 4 epochs in 2 rounds, then 2 retrainings, by two workers unless told otherwise."""
        own = "--training own:Slow --space space.yaml --searcher random"
        size = "--budget 32 --epochs 4 --round-size 4 --seeds 1"
        return self.run("search", *f"{own} {size} --workers 2 --study s --output out".split(), *more)

    def join(self, *more: str) -> subprocess.Popen:
        """A worker that knows nothing but the storage."""
        return self.run("worker", "--storage", "sqlite:///out/study.db", "--workers", "1", *more)

    def run(self, *arguments: str) -> subprocess.Popen:
        """Start hpo-gn in the search's folder."""
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [sys.executable, "-m", "hpo_gn.cli", *arguments],
            cwd=self.folder,
            stdout=pipe,
            stderr=pipe,
            text=True,
            start_new_session=True,
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
