"""Trainings of perceptrons on Shell with their spectra recorded each epoch, a line of a file each."""

import gzip
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from torch import Tensor

from benchmarks.give_up.mlps import Mlps, xavier
from hpo_gn.data import DataSet
from hpo_gn.seeds import derive_seed

TRAIN_EVERY = 10
"""Epochs from one measurement on the training samples to the next."""

Run = dict[str, Any]


@dataclass(frozen=True)
class Network:
    """One network to train.

    Args:
        number: which of the experiment's, from 0.
        widths: of the input, the hidden layers and the output.
        factor: on the standard deviation of normal Xavier.
    """

    number: int
    widths: tuple[int, ...]
    factor: float


@dataclass(frozen=True)
class Experiment:
    """How networks are trained.

    Args:
        name: of the experiment.
        optimizer: see `Mlps`.
        learning_rate: of all.
        epochs: how many.
        seed: of weights and batches.
        batch: samples of a step.
        stack: networks of the same widths trained at once.
        device: where.
    """

    name: str
    optimizer: str
    learning_rate: float
    epochs: int
    seed: int = 0
    batch: int = 32
    stack: int = 16
    device: str = "cpu"

    def complete(self, file: Path, data: DataSet, networks: Sequence[Network]) -> list[Run]:
        """Train the networks whose lines the file, compressed, does not have yet; the lines of all."""
        by_number = {network.number: network for network in networks}
        done = {run["number"]: run for run in read(file) if self._made(run, by_number.get(run["number"]))}
        missing = [network for network in networks if network.number not in done]
        splits = [
            (inputs.flatten(1).to(self.device), targets.to(self.device))
            for inputs, targets in map(data.read, ("train", "test"))
        ]
        for stack in _stacks(missing, self.stack):
            began = time.perf_counter()
            runs = self._train(stack, *splits)
            lines = "".join(json.dumps(run) + "\n" for run in runs)
            with file.open("ab") as stored:
                stored.write(gzip.compress(lines.encode(), mtime=0))
            done |= {run["number"]: run for run in runs}
            print(f"{self.name} {progress(runs)} {time.perf_counter() - began:.0f} s", flush=True)
        return [done[network.number] for network in networks]

    def _made(self, run: Run, network: Network | None) -> bool:
        wanted = self._settings() | (asdict(network) if network else {"number": None})
        return all(run[name] == json.loads(json.dumps(value)) for name, value in wanted.items())

    def _settings(self) -> Run:
        return {name: value for name, value in asdict(self).items() if name not in ("stack", "device")}

    def _train(
        self,
        networks: Sequence[Network],
        train: tuple[Tensor, Tensor],
        validation: tuple[Tensor, Tensor],
    ) -> list[Run]:
        weights = [
            xavier(network.widths, network.factor, derive_seed(self.seed, 0, network.number))
            for network in networks
        ]
        mlps = Mlps(weights, self.optimizer, self.learning_rate, self.device)
        rows: list[list[dict[str, float]]] = [[] for _ in networks]
        for epoch in range(1, self.epochs + 1):
            mlps.run_epoch(*train, self.batch, derive_seed(self.seed, 1, epoch))
            parts = [mlps.judge(*validation, "val"), mlps.spectra(validation[0])]
            if epoch % TRAIN_EVERY == 0 or epoch == self.epochs:
                parts.append(mlps.judge(*train, "train"))
            for of_network, *columns in zip(rows, *parts, strict=True):
                of_network.append({name: value for part in columns for name, value in part.items()})
        return [
            self._settings() | asdict(network) | {"rows": _rounded(of_network)}
            for network, of_network in zip(networks, rows, strict=True)
        ]


def read(file: Path) -> list[Run]:
    """The runs of a file, none if it is not there."""
    return (
        [json.loads(line) for line in gzip.decompress(file.read_bytes()).splitlines()]
        if file.exists()
        else []
    )


def _stacks(networks: Sequence[Network], size: int) -> Iterator[Sequence[Network]]:
    for _, group in groupby(networks, lambda network: network.widths):
        alike = list(group)
        for start in range(0, len(alike), size):
            yield alike[start : start + size]


def _rounded(rows: Sequence[dict[str, float]]) -> dict[str, list[float | None]]:
    """By column; None where there is no finite number."""
    names = {name: None for row in rows for name in row}
    values = {name: [row.get(name, math.nan) for row in rows] for name in names}
    return {
        name: [float(f"{value:.6g}") if math.isfinite(value) else None for value in column]
        for name, column in values.items()
    }


def progress(runs: Sequence[Run]) -> str:
    """The runs in a line."""
    return " ".join(
        f"{run['number']}:{run['factor']:.2f}:{run['rows']['val_accuracy'][-1]:.3f}" for run in runs
    )
