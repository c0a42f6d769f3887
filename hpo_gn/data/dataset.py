"""A data set: a name, its number of classes, and a function that reads one official split of it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from hpo_gn.errors import ArgumentError, DataError

OfficialSplit = Literal["train", "test"]
Read = Callable[[OfficialSplit], tuple[Tensor, Tensor]]
Augmentation = Callable[[Tensor, torch.Generator], Tensor]


@dataclass(frozen=True)
class DataSet:
    """A classification data set whose official splits are read on demand and checked.

    Args:
        name: what it is called in messages.
        classes: number of classes; labels are 0 … classes − 1.
        read: gives a split's inputs, uint8 [N, C, H, W] or float32 [N, ...], and targets, int64 [N]. Reading
            "train" must not touch the test split, nor the other way round.
        augmentation: applied to each training batch as it is stored (before normalization) with a random
            generator on the batch's device; None for no augmentation.

    Calling `read` raises DataError when what was read breaks any of this.
    """

    name: str
    classes: int
    read: Read
    augmentation: Augmentation | None = None

    def __post_init__(self) -> None:
        if self.classes < 2:
            raise ArgumentError("classes", "an integer of at least 2", self.classes)
        object.__setattr__(self, "read", partial(_checked, self.name, self.classes, self.read))


def _checked(name: str, classes: int, read: Read, split: OfficialSplit) -> tuple[Tensor, Tensor]:
    if split not in ("train", "test"):
        raise ArgumentError("split", "'train' or 'test'", split)
    inputs, targets = read(split)
    check_samples(inputs, targets, classes, f"{name}, {split} split")
    return inputs, targets


def check_samples(inputs: Tensor, targets: Tensor, classes: int, where: str) -> None:
    """Check that inputs and targets are one split of a data set.

    Args:
        inputs: uint8 or float32 [N, C, ...], finite.
        targets: int64 [N], 0 … classes − 1.
        classes: number of classes.
        where: begins the message, e.g. "mnist, train split".

    Raises:
        DataError: the first rule that is broken, in one line.
    """
    if inputs.dtype not in (torch.uint8, torch.float32) or inputs.ndim < 2:
        raise DataError(
            f"{where}: inputs must be uint8 or float32 [N, C, ...], got {_kind(inputs)} {list(inputs.shape)}"
        )
    if targets.dtype != torch.int64 or targets.ndim != 1:
        raise DataError(f"{where}: targets must be int64 [N], got {_kind(targets)} {list(targets.shape)}")
    if len(inputs) != len(targets):
        raise DataError(f"{where}: {len(inputs)} inputs but {len(targets)} targets")
    if inputs.numel() == 0:
        raise DataError(f"{where}: no samples")
    low, high = (int(bound) for bound in targets.aminmax())
    if low < 0 or high >= classes:
        raise DataError(f"{where}: labels must be 0 to {classes - 1}, got {low if low < 0 else high}")
    if inputs.is_floating_point() and not bool(inputs.isfinite().all()):
        raise DataError(f"{where}: inputs must be finite, got NaN or infinity")


def _kind(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
