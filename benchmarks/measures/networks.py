"""The networks that measures are timed on, trained a little so that gradients are not those of noise."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from hpo_gn.data import Split
from hpo_gn.models import build_model
from hpo_gn.training import SupervisedTraining

STEPS, STEP = 30, 64
"""Training steps before anything is timed, and samples of each."""
SIGNS = 64
"""Samples of GradSign."""


@dataclass(frozen=True)
class Size:
    """How much of the data each network is timed on.

    Args:
        batch: samples of the batch whose per-sample gradients are read.
        chunk: samples at once under vmap, the fastest of 8, 16, … and the whole batch.
        evaluated: samples that an evaluation walks, in batches of 1,000.
        walked: samples that a measure's pass walks, in such batches.
        trained: samples of a training epoch.
        sharp: samples that the sharpness is of.
    """

    batch: int
    chunk: int
    evaluated: int
    walked: int
    trained: int
    sharp: int

    @property
    def most(self) -> int:
        """Samples that all of it takes."""
        return max(self.batch, self.evaluated, self.walked, self.trained, self.sharp, STEPS * STEP)


SIZES = {
    "mlp": Size(batch=1000, chunk=256, evaluated=5000, walked=10_000, trained=4000, sharp=500),
    "lenet5": Size(batch=256, chunk=256, evaluated=5000, walked=2560, trained=4000, sharp=500),
    "resnet20": Size(batch=128, chunk=128, evaluated=1000, walked=384, trained=500, sharp=128),
}


@dataclass(frozen=True)
class Case:
    """A network in evaluation mode, and its data.

    Args:
        name: the network's.
        model: trained a little.
        inputs, targets: at least as many as any of `size`.
        size: how much of them to take.
    """

    name: str
    model: nn.Module
    inputs: Tensor
    targets: Tensor
    size: Size

    @property
    def device(self) -> torch.device:
        """Where all of it is."""
        return self.inputs.device

    def batch(self, samples: int) -> tuple[Tensor, Tensor]:
        """The first samples."""
        return self.inputs[:samples], self.targets[:samples]

    def batches(self, samples: int, size: int) -> list[tuple[Tensor, Tensor]]:
        """The first samples, some at a time."""
        inputs, targets = self.batch(samples)
        return list(zip(inputs.split(size), targets.split(size), strict=True))

    def training(self, samples: int, batch_size: int) -> SupervisedTraining:
        """A training from the start, on the first samples."""
        torch.manual_seed(0)
        model = build_model(self.name, tuple(self.inputs.shape[1:]), 10)
        split = Split(*self.batch(samples), torch.zeros(1), torch.ones(1))
        return SupervisedTraining(
            model,
            split,
            batch_size=batch_size,
            learning_rate=0.01,
            momentum=0.9,
            weight_decay=5e-4,
            epochs=100,
        )


def prepare(name: str, inputs: Tensor, targets: Tensor, size: Size) -> Case:
    """A network after some training steps."""
    case = Case(name, nn.Identity(), inputs, targets, size)
    training = case.training(STEPS * STEP, STEP)
    training.run_epoch()
    return Case(name, training.model.eval(), inputs, targets, size)


def forward_and_backward(model: nn.Module, inputs: Tensor, targets: Tensor) -> Callable[[], None]:
    """F+B, the unit: an ordinary forward and backward pass of a batch, in the mode that the model is in."""
    return partial(_forward_and_backward, model, inputs, targets)


def _forward_and_backward(model: nn.Module, inputs: Tensor, targets: Tensor) -> None:
    model.zero_grad(set_to_none=True)
    cross_entropy(model(inputs), targets).backward()
