"""Checkpoints: a trial's state after an epoch, which no crash while writing can spoil."""

import hashlib
import io
import os
import pickle
import re
import shutil
import uuid
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from hpo_gn.errors import CheckpointError

_MAGIC = b"hpo_gn checkpoint 1\n"
_KEPT = 2
_NAME = re.compile(r"epoch-\d+\.pt")


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
        """Write a checkpoint, and drop all but the last two that were written for the trial.

        Only the worker that holds the trial may write.

        Raises:
            CheckpointError: it cannot be written, as on a full disk; what was there is untouched.
        """
        contents = io.BytesIO()
        torch.save({"epoch": checkpoint.epoch, "state": checkpoint.state}, contents)
        path = self._folder(trial) / f"epoch-{checkpoint.epoch}.pt"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _remove(path.parent.glob("*.tmp"))  # of writers that were killed
            _write_atomically(path, _signed(contents.getvalue()))
            # By time, not by epoch: a trial that starts again after damage must not lose to the old files.
            others = sorted((old for old in self._files(trial) if old != path), key=_written)
            _remove(others[: 1 - _KEPT])
        except OSError as error:
            raise CheckpointError(
                f"checkpoint {path.name} of {path.parent.name} cannot be written: {error.strerror}"
            ) from error

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
                warnings.warn(f"{error}; trying the one before it", stacklevel=2)
        return None

    def discard(self) -> None:
        """Remove every checkpoint of the study."""
        shutil.rmtree(self.root, ignore_errors=True)

    def _folder(self, trial: int) -> Path:
        return self.root / f"trial-{trial}"

    def _files(self, trial: int) -> list[Path]:
        found = self._folder(trial).glob("epoch-*.pt")
        return sorted((path for path in found if _NAME.fullmatch(path.name)), key=_epoch)


def _epoch(path: Path) -> int:
    return int(path.stem.removeprefix("epoch-"))


def _written(path: Path) -> int:
    return path.stat().st_mtime_ns


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _signed(contents: bytes) -> bytes:
    return _MAGIC + hashlib.sha256(contents).hexdigest().encode() + b"\n" + contents


def _read(path: Path) -> Checkpoint:
    name = f"checkpoint {path.name} of {path.parent.name}"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{name} cannot be read: {error.strerror}") from error
    head = len(_MAGIC) + 65
    if data[: len(_MAGIC)] != _MAGIC or _signed(data[head:])[:head] != data[:head]:
        raise CheckpointError(f"{name} is damaged")
    try:
        found = torch.load(io.BytesIO(data[head:]), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise CheckpointError(f"{name} holds more than tensors and plain values") from error
    if not isinstance(found, dict) or not {"epoch", "state"} <= found.keys():
        raise CheckpointError(f"{name} is not one of hpo_gn's")
    return Checkpoint(found["epoch"], found["state"])


def _write_atomically(path: Path, data: bytes) -> None:
    temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}.tmp")
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
