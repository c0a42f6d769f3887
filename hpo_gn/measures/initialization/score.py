"""What the scores at initialization have in common: one mini-batch, train mode, a model left as found."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import nn

from hpo_gn.errors import ArgumentError, NonFiniteError
from hpo_gn.measures.as_found import modes_as_found
from hpo_gn.measures.batch import Batch
from hpo_gn.measures.initialization.mini_batch import MiniBatch, weights
from hpo_gn.measures.nonfinite import check_finite
from hpo_gn.measures.samples import join


@dataclass(frozen=True)
class Score(ABC):
    """A number of one mini-batch of the training split, with the model in train mode as in the originals: a
    batch norm uses the batch's statistics, and dropout is drawn from the seed.

    Modes, buffers, gradients, parameters and random states are left as they were found. The inputs are held
    until `compute` returns.

    Args:
        samples: the mini-batch's size, a random subset of the split.
        seed: of the subset and of dropout.

    Raises:
        ArgumentError: a value out of its range.
    """

    samples: int = 64
    seed: int = 0
    split: Literal["train"] = field(default="train", init=False)
    own_passes: ClassVar[bool] = True
    column: ClassVar[str]
    _parts: list[MiniBatch] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.samples, int) or self.samples < 1:
            raise ArgumentError("samples", "a positive integer", self.samples)
        if not isinstance(self.seed, int) or self.seed < 0:
            raise ArgumentError("seed", "an integer of at least 0", self.seed)

    def update(self, batch: Batch) -> None:
        """Keep the mini-batch, or a part of it.

        Raises:
            NonFiniteError: its loss, already in evaluation mode, is NaN or infinite.
        """
        check_finite(batch)
        self._parts.append(MiniBatch(batch.model, batch.inputs, batch.targets, batch.loss))

    def compute(self) -> Mapping[str, float]:
        """The column, NaN if there was no batch; starts anew.

        Raises:
            ModelError: the score is not defined for this model or these inputs.
            NonFiniteError: it is NaN or infinite.
        """
        parts = self._parts.copy()
        self._parts.clear()
        return {self.column: self._of(parts) if parts else math.nan}

    def _of(self, parts: list[MiniBatch]) -> float:
        inputs, targets = join([part.inputs for part in parts]), torch.cat([part.targets for part in parts])
        batch = MiniBatch(parts[0].model, inputs, targets, parts[0].loss)
        with training(batch.model, self.seed):
            value = self.score(batch)
            if not math.isfinite(value):
                raise NonFiniteError(f"{self.column} must be finite, got {value}{_blame(batch)}")
        return value

    @abstractmethod
    def score(self, batch: MiniBatch) -> float:
        """The number, NaN or infinite where a gradient is; called in train mode with gradients."""


@contextmanager
def training(model: nn.Module, seed: int) -> Iterator[None]:
    """Train mode with gradients inside; outside, modes, buffers and torch's random states are as before."""
    buffers = [
        (module, name, buffer)
        for module in model.modules()
        for name, buffer in module.named_buffers(recurse=False, remove_duplicate=False)
    ]
    # Replaced rather than written back: their versions stay too, for whoever has them in a graph.
    copies = {buffer: buffer.clone() for _, _, buffer in buffers}
    devices = {parameter.device for parameter in model.parameters() if parameter.device.type == "cuda"}
    with modes_as_found(model), torch.random.fork_rng(devices=list(devices)), torch.enable_grad():
        torch.manual_seed(seed)
        model.train()
        try:
            for module, name, buffer in buffers:
                setattr(module, name, copies[buffer])
            yield
        finally:
            for module, name, buffer in buffers:
                setattr(module, name, buffer)


def _blame(batch: MiniBatch) -> str:
    """The first layer in the backward pass whose gradient is not finite, as the end of a message."""
    layers = weights(batch.model)
    for weight, gradient in reversed(batch.gradients().items()):
        if not gradient.isfinite().all():
            return f": the gradient of layer {layers[weight]!r} is not finite"
    return ""
