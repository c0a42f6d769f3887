"""Checkpoints: a trial's state after an epoch, which no crash while writing can spoil."""

import hashlib
import io
import os
import re
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hpo_gn.errors import CheckpointError

_MAGIC = b"hpo_gn checkpoint 1\n"
_KEPT = 2


@dataclass(frozen=True)
class Checkpoint:
    """A trial's state after an epoch."""

    epoch: int
    state: dict[str, Any]


class Checkpoints:
    """The checkpoints of a study's trials, one folder a trial, the last two generations kept.

    A checkpoint is written to a temporary file, synced and renamed; it starts with the SHA-256 of its
    contents and is read with `weights_only=True`, so nothing in it is executed.

    Args:
        root: the study's folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def save(self, trial: int, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, and drop all but the last two of the trial."""
        folder = self._folder(trial)
        folder.mkdir(parents=True, exist_ok=True)
        contents = io.BytesIO()
        torch.save({"epoch": checkpoint.epoch, "state": checkpoint.state}, contents)
        _write_atomically(folder / f"epoch-{checkpoint.epoch}.pt", _signed(contents.getvalue()))
        for old in self._files(trial)[:-_KEPT]:
            old.unlink(missing_ok=True)

    def latest(self, trial: int, *, upto: int | None = None) -> Checkpoint | None:
        """The newest readable checkpoint of a trial; a damaged one is warned of and the one before it used.

        Args:
            trial: the trial's number.
            upto: the largest epoch that will do.
        """
        for path in reversed(self._files(trial)):
            if upto is not None and _epoch(path) > upto:
                continue
            try:
                return _read(path)
            except CheckpointError as error:
                warnings.warn(f"{error}; using the one before it", stacklevel=2)
        return None

    def discard(self) -> None:
        """Remove every checkpoint of the study."""
        shutil.rmtree(self.root, ignore_errors=True)

    def _folder(self, trial: int) -> Path:
        return self.root / f"trial-{trial}"

    def _files(self, trial: int) -> list[Path]:
        return sorted(self._folder(trial).glob("epoch-*.pt"), key=_epoch)


def _epoch(path: Path) -> int:
    match = re.fullmatch(r"epoch-(\d+)\.pt", path.name)
    return int(match[1]) if match else -1


def _signed(contents: bytes) -> bytes:
    return _MAGIC + hashlib.sha256(contents).hexdigest().encode() + b"\n" + contents


def _read(path: Path) -> Checkpoint:
    data = path.read_bytes()
    head = len(_MAGIC) + 65
    if data[: len(_MAGIC)] != _MAGIC or _signed(data[head:])[:head] != data[:head]:
        raise CheckpointError(f"checkpoint {path.name} of {path.parent.name} is damaged")
    found = torch.load(io.BytesIO(data[head:]), map_location="cpu", weights_only=True)
    return Checkpoint(found["epoch"], found["state"])


def _write_atomically(path: Path, data: bytes) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
