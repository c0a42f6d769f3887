"""Specifications written for tests, and the training that they search."""

import json
from pathlib import Path

TRAINING = '''
import os, time, torch
from pathlib import Path
from torch import nn

LOG = Path(__file__).with_name("log")


class Slow:
    """Writes down every epoch it begins: process, trial's seed, epoch, samples."""

    pause_s = 0.0

    def __init__(self, config, splits, *, epochs, seed):
        self.seed, self.epoch, self.rate, self.samples = seed, 0, config["rate"], len(splits.train)
        torch.manual_seed(seed)
        self.model = nn.Sequential(nn.Flatten(), nn.Linear(64, splits.classes))

    def run_epoch(self):
        self.epoch += 1
        with LOG.open("a") as file:
            file.write(f"{os.getpid()} {self.seed} {self.epoch} {self.samples}\\n")
        time.sleep(self.pause_s)
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter += self.rate * self.epoch

    def state_dict(self):
        return {"model": self.model.state_dict(), "epoch": self.epoch}

    def load_state_dict(self, state):
        self.model.load_state_dict(state["model"])
        self.epoch = state["epoch"]


class Slower(Slow):
    pause_s = 0.3


class Breaks(Slow):
    """After the two epochs that a probe runs; not any more once there is a file that says so."""

    def run_epoch(self):
        super().run_epoch()
        if self.epoch == 3 and not LOG.with_name("mended").exists():
            raise RuntimeError("out of paper")
'''

SPACE = {
    "hyperparameters": [
        {"type": "uniform_float", "name": "rate", "lower": 0.001, "upper": 1.0, "default_value": 0.01}
    ]
}


def settings(**changes):
    """A small comparison; a change to None leaves a key out."""
    plain = {
        "data": "digits",
        "model": "mlp",
        "objective": "val-loss",
        "searcher": "random",
        "seed": 1,
        "budget": 8,
        "epochs": 4,
    }
    return {key: value for key, value in (plain | changes).items() if value is not None}


def write_spec(folder: Path, name: str = "small", **changes) -> Path:
    """Its file; JSON is YAML."""
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps(settings(**changes)))
    return path


def write_training(folder: Path) -> dict:
    """A module `papers` with trainings, and what a specification of it says instead of a model."""
    (folder / "papers.py").write_text(TRAINING)
    (folder / "space.yaml").write_text(json.dumps(SPACE))
    return {"model": None, "space": "space.yaml", "round_size": 2, "retrainings": 1}


def log(folder: Path) -> list[list[int]]:
    """Every epoch that was begun."""
    path = folder / "log"
    lines = path.read_text().splitlines() if path.exists() else []
    return [list(map(int, line.split())) for line in lines if line.count(" ") == 3]
