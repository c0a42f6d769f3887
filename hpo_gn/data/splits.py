"""Splits of a data set as tensors on one device: training, validation and test."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from hpo_gn.data.dataset import Augmentation, DataSet
from hpo_gn.data.fingerprint import fingerprint
from hpo_gn.data.moments import channel_moments
from hpo_gn.errors import ArgumentError, DataError


@dataclass(frozen=True, eq=False)
class Split:
    """Samples as stored and the statistics that normalize a batch of them.

    Args:
        inputs: uint8 or float32 [N, C, ...].
        targets: int64 [N].
        mean: float32 [C], of the training samples; uint8 inputs count as 0 … 1.
        std: float32 [C], likewise.
    """

    inputs: Tensor
    targets: Tensor
    mean: Tensor
    std: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def batch(self, index: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Normalized inputs, float32 [B, C, ...], and targets, int64 [B], of the samples at `index`."""
        return self.normalize(self.inputs[index]), self.targets[index]

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Every sample once, in order, `size` at a time; the last batch may be smaller."""
        for start in range(0, len(self), size):
            yield self.batch(slice(start, start + size))

    def normalize(self, inputs: Tensor) -> Tensor:
        """(inputs − mean) / std per channel, float32 [B, C, ...], of inputs as stored (augmented or not)."""
        scale, shift = self._affine
        return torch.addcmul(shift, inputs.float(), scale)

    @cached_property
    def _affine(self) -> tuple[Tensor, Tensor]:
        """Scale and shift, [1, C, 1, ...]: ÷255 and normalization are one multiply-add."""
        shape = (1, -1, *(1,) * (self.inputs.ndim - 2))
        mean, std = self.mean.double().view(shape), self.std.double().view(shape)
        unit = 255 if self.inputs.dtype == torch.uint8 else 1
        return (1 / (unit * std)).float(), (-mean / std).float()


@dataclass(frozen=True, eq=False)
class Splits:
    """The splits that one training sees.

    Args:
        train: what the model is fitted to.
        validation: what judges it during a search; None when the winner is trained.
        test: what judges the winner; None during a search.
        classes: number of classes.
        shape: one input's shape, (C, ...).
        augmentation: for training batches as stored; None for no augmentation.
        fingerprint: SHA-256 of the training and validation samples, the same on every device.
    """

    train: Split
    validation: Split | None
    test: Split | None
    classes: int
    shape: tuple[int, ...]
    augmentation: Augmentation | None
    fingerprint: str


def search_splits(
    data: DataSet,
    *,
    fraction: float = 0.2,
    validation_fraction: float = 0.1,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> Splits:
    """The reduced training set and the validation set of a search; the test split is not read.

    Both are drawn per class from the official training set, random but fixed by `seed`. They do not
    overlap, and mean and standard deviation are the reduced training set's.

    Args:
        data: where the samples come from.
        fraction: share of the whole official training set to train on, in (0, 1).
        validation_fraction: share of the whole official training set to hold out, in (0, 1).
        seed: fixes the draw.
        device: where the tensors go.

    Raises:
        ArgumentError: a fraction outside (0, 1), a sum above 1, or a negative seed.
        DataError: bad data, or a class without a sample in one of the two.
    """
    _check_fraction("fraction", fraction)
    _check_fraction("validation_fraction", validation_fraction)
    if fraction + validation_fraction > 1 + 1e-9:
        raise ArgumentError(
            "fraction + validation_fraction", "at most 1", round(fraction + validation_fraction, 9)
        )
    if seed < 0:
        raise ArgumentError("seed", "an integer of at least 0", seed)
    inputs, targets = data.read("train")
    train, held_out = _draw(targets.numpy(), data, fraction, validation_fraction, seed)
    return _splits(
        data, device, (inputs[train], targets[train]), validation=(inputs[held_out], targets[held_out])
    )


def full_splits(data: DataSet, *, device: torch.device | str = "cpu") -> Splits:
    """The whole official training set, a search's validation samples included, and the test set.

    Raises:
        DataError: bad data.
    """
    return _splits(data, device, data.read("train"), test=data.read("test"))


def _check_fraction(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise ArgumentError(name, "a number above 0 and below 1", value)


def _draw(
    targets: np.ndarray, data: DataSet, fraction: float, validation_fraction: float, seed: int
) -> tuple[Tensor, Tensor]:
    """Sorted indices of the training and the validation samples.

    Counts per class are differences of rounded cumulative counts: each is within one of its exact share, and
    they add up to the rounded share of all samples.
    """
    counts = np.bincount(targets, minlength=data.classes)
    cumulative = np.concatenate([[0], np.cumsum(counts)])
    held_out = np.diff(np.round(cumulative * validation_fraction).astype(int))
    both = np.diff(np.round(cumulative * (fraction + validation_fraction)).astype(int))
    _check_counts(data.name, counts, both - held_out, held_out)
    generator = np.random.default_rng(seed)
    train, validation = [], []
    for label in range(data.classes):
        members = generator.permutation(np.flatnonzero(targets == label))
        validation.append(members[: held_out[label]])
        train.append(members[held_out[label] : both[label]])
    return _sorted(train), _sorted(validation)


def _sorted(parts: list[np.ndarray]) -> Tensor:
    return torch.from_numpy(np.sort(np.concatenate(parts)))


def _check_counts(name: str, counts: np.ndarray, train: np.ndarray, validation: np.ndarray) -> None:
    for drawn, split in (
        (counts, "official training"),
        (train, "reduced training"),
        (validation, "validation"),
    ):
        if (drawn < 1).any():
            label = int(np.argmax(drawn < 1))
            official = f"{counts[label]} of the official training set"
            raise DataError(f"{name}: class {label} is left without a sample in the {split} set ({official})")


def _splits(
    data: DataSet,
    device: torch.device | str,
    train: tuple[Tensor, Tensor],
    validation: tuple[Tensor, Tensor] | None = None,
    test: tuple[Tensor, Tensor] | None = None,
) -> Splits:
    mean, std = (moment.to(device) for moment in channel_moments(train[0]))

    def on_device(samples: tuple[Tensor, Tensor] | None) -> Split | None:
        return samples and Split(samples[0].to(device), samples[1].to(device), mean, std)

    return Splits(
        train=Split(train[0].to(device), train[1].to(device), mean, std),
        validation=on_device(validation),
        test=on_device(test),
        classes=data.classes,
        shape=tuple(train[0].shape[1:]),
        augmentation=data.augmentation,
        fingerprint=fingerprint(*train, *(validation or ())),
    )
