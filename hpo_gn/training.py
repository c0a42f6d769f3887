"""Training: the contract of what a search trains, and the papers' own way of training."""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from hpo_gn.data import Split, Splits
from hpo_gn.errors import ArgumentError, SpaceError
from hpo_gn.measures import Loss, cross_entropy
from hpo_gn.seeds import derive_seed

NEEDS = ("batch_size", "learning_rate", "momentum", "weight_decay")


@runtime_checkable
class Training(Protocol):
    """What is trained: a model, and a way to train it for one epoch.

    With `state_dict` and `load_state_dict` as well (tensors, numbers, strings and containers of them) an
    interrupted trial continues from its last checkpoint; without them it starts again. A `loss` attribute,
    (logits, targets) → the loss of each sample, replaces cross entropy in the measures.
    """

    model: nn.Module

    def run_epoch(self) -> None:
        """Train for one epoch."""


TrainingFactory = Callable[..., Training]
"""(config, splits, *, epochs, seed) → Training: config by name, the data, the epochs the schedule is for, the
seed.
"""


def can_resume(training: Training) -> bool:
    """Whether a training's state can be saved and loaded."""
    return hasattr(training, "state_dict") and hasattr(training, "load_state_dict")


class SupervisedTraining:
    """The AGN paper's training: SGD with momentum, cross entropy, learning rate ×1/10 at half of the epochs
    and ×1/100 at three quarters.

    Every random number of epoch τ is a function of the seed and τ, so a training that is saved after any
    epoch and loaded into a new one continues bit for bit on a CPU.

    Args:
        model: gives logits [B, classes]; moved to the data's device.
        data: the training split.
        batch_size: samples a step; a larger one than the split takes the split whole. A last batch of one
            sample joins the batch before it, since batch norm cannot train on a single vector.
        learning_rate, momentum, weight_decay: of `torch.optim.SGD`, finite and not negative.
        epochs: the epochs that the schedule is for.
        seed: of the order of the samples, the augmentation and dropout.
        augmentation: (inputs [B, C, H, W], generator) → inputs, on the device, before normalization.
        loss: the loss of each sample, (logits, targets) → [B].
        mixed_precision: run the forward pass in bfloat16 where torch's autocast does.
        channels_last: keep the model's and the batches' memory in channels-last order.

    Raises:
        ArgumentError: a value out of its range.
    """

    def __init__(
        self,
        model: nn.Module,
        data: Split,
        *,
        batch_size: int,
        learning_rate: float,
        momentum: float,
        weight_decay: float,
        epochs: int,
        seed: int = 0,
        augmentation: Callable[[Tensor, torch.Generator], Tensor] | None = None,
        loss: Loss = cross_entropy,
        mixed_precision: bool = False,
        channels_last: bool = False,
    ) -> None:
        for name, value in (("batch_size", batch_size), ("epochs", epochs)):
            if not isinstance(value, int) or value < 1:
                raise ArgumentError(name, "a positive integer", value)
        for name, rate in (
            ("learning_rate", learning_rate),
            ("momentum", momentum),
            ("weight_decay", weight_decay),
        ):
            if not (math.isfinite(rate) and rate >= 0):
                raise ArgumentError(name, "a finite number, 0 or more", rate)
        if channels_last and data.inputs.ndim != 4:
            raise ArgumentError("channels_last", "False for inputs that are not [N, C, H, W]", channels_last)
        self.device = data.inputs.device
        layout = torch.channels_last if channels_last else torch.preserve_format
        self.model = model.to(self.device).to(memory_format=layout)  # type: ignore[call-overload]  # torch's types lack it
        self.loss = loss
        self.epoch = 0
        self._data, self._augmentation, self._layout = data, augmentation, layout
        self._batch_size, self._epochs, self._seed = batch_size, epochs, seed
        self._learning_rate, self._mixed_precision = learning_rate, mixed_precision
        self.optimizer = torch.optim.SGD(
            self.model.parameters(),
            lr=learning_rate,
            momentum=momentum,
            weight_decay=weight_decay,
            fused=self.device.type in ("cpu", "cuda"),
        )

    def run_epoch(self) -> None:
        """Train for one epoch, each sample once, in an order of its own."""
        order, crops, dropout = (derive_seed(self._seed, self.epoch, stream) for stream in range(3))
        for group in self.optimizer.param_groups:
            group["lr"] = self._learning_rate * self._decay()
        generator = torch.Generator(self.device).manual_seed(crops)
        self.model.train()
        with _seeded(dropout, self.device):
            for index in self._order(order):
                self._step(*self._batch(index, generator))
        self.epoch += 1

    def _order(self, seed: int) -> Sequence[Tensor]:
        """The indices of an epoch's batches."""
        samples = len(self._data)
        order = torch.randperm(samples, generator=torch.Generator().manual_seed(seed)).to(self.device)
        sizes = [self._batch_size] * (samples // self._batch_size)
        if rest := samples % self._batch_size:
            sizes.append(rest)
        if rest == 1 and len(sizes) > 1:
            sizes[-2:] = [self._batch_size + 1]
        return torch.split(order, sizes)

    def _batch(self, index: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        if self._augmentation is None:
            return self._data.batch(index)
        augmented = self._augmentation(self._data.inputs[index], generator)
        return self._data.normalize(augmented), self._data.targets[index]

    def _step(self, inputs: Tensor, targets: Tensor) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._mixed_precision):
            logits = self.model(inputs.contiguous(memory_format=self._layout))
        self.loss(logits.float() if self._mixed_precision else logits, targets).mean().backward()  # type: ignore[no-untyped-call]  # torch's
        self.optimizer.step()

    def _decay(self) -> float:
        """1, 1/10 from half of the epochs on, 1/100 from three quarters on (section A.1: epochs 80 and 120 of
        160).
        """
        if 4 * self.epoch >= 3 * self._epochs:
            return 0.01
        return 0.1 if 2 * self.epoch >= self._epochs else 1.0

    def state_dict(self) -> dict[str, Any]:
        """Everything the next epoch depends on."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "epoch": self.epoch,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state of the same model."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch = state["epoch"]


def supervised(
    build_model: Callable[..., nn.Module], *, mixed_precision: bool = False, channels_last: bool = False
) -> TrainingFactory:
    """The factory of `SupervisedTraining` for a model: (config, splits, *, epochs, seed) → training.

    Args:
        build_model: (shape, classes, **hyperparameters) → model; gets what the config holds beyond the
            training's own four.
        mixed_precision, channels_last: as in `SupervisedTraining`.

    The factory raises SpaceError for a config that lacks one of the four.
    """

    def build(config: Mapping[str, Any], splits: Splits, *, epochs: int, seed: int) -> SupervisedTraining:
        check_space(set(config))
        own = {name: config[name] for name in NEEDS}
        extra = {name: value for name, value in config.items() if name not in NEEDS}
        with _seeded(seed, splits.train.inputs.device):
            model = build_model(splits.shape, splits.classes, **extra)
        return SupervisedTraining(
            model,
            splits.train,
            **own,
            epochs=epochs,
            seed=seed,
            augmentation=splits.augmentation,
            mixed_precision=mixed_precision,
            channels_last=channels_last,
        )

    return build


def check_space(names: set[str]) -> None:
    """Refuse a space that lacks what `SupervisedTraining` needs.

    Raises:
        SpaceError: with the names that are missing.
    """
    missing = [name for name in NEEDS if name not in names]
    if missing:
        raise SpaceError(
            f"the space must have {', '.join(NEEDS)} (a constant will do); it lacks {', '.join(missing)}"
        )


@contextlib.contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """The global random state seeded inside, and as it was outside."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield
