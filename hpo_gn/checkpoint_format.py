"""A checkpoint as bytes: their SHA-256, then what `torch.save` makes of it; nothing in them is executed."""

import hashlib
import io
import pickle
from dataclasses import dataclass
from typing import Any

import torch

_MAGIC = b"hpo_gn checkpoint 1\n"
_HEAD = len(_MAGIC) + 65
# What torch.load raises of bytes that are not its own depends on where in them it fails.
_UNREADABLE = (
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
)


@dataclass(frozen=True)
class Checkpoint:
    """A trial's state after an epoch."""

    epoch: int
    state: dict[str, Any]


class DamagedError(Exception):
    """Bytes that are no whole checkpoint; the message says why."""


def encode(checkpoint: Checkpoint) -> bytes:
    """A checkpoint as bytes."""
    contents = io.BytesIO()
    torch.save({"epoch": checkpoint.epoch, "state": checkpoint.state}, contents)
    return _head(contents.getbuffer()) + contents.getbuffer()


def decode(data: bytes) -> Checkpoint:
    """The checkpoint that was encoded, on the CPU.

    Raises:
        DamagedError: it is not what was encoded.
    """
    try:
        found = torch.load(io.BytesIO(_verified(data)), map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        raise DamagedError("holds more than tensors and plain values") from error
    if not isinstance(found, dict) or not {"epoch", "state"} <= found.keys():
        raise DamagedError("is not one of hpo_gn's")
    return Checkpoint(found["epoch"], found["state"])


def _verified(data: bytes) -> memoryview:
    contents = memoryview(data)[_HEAD:]
    if data[:_HEAD] != _head(contents):
        raise DamagedError("is damaged")
    return contents


def _head(contents: memoryview) -> bytes:
    return _MAGIC + hashlib.sha256(contents).hexdigest().encode() + b"\n"
