"""GradSign: how far the samples' gradients agree in sign at initialization."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from hpo_gn.errors import ArgumentError, NonFiniteError
from hpo_gn.measures.as_found import modes_as_found
from hpo_gn.measures.batch import Batch
from hpo_gn.measures.gradients import Backpropagation, Gradient, check_samples_are_apart
from hpo_gn.measures.gradients.batch_norm import with_statistics_of_one_sample
from hpo_gn.measures.nonfinite import check_finite
from hpo_gn.measures.samples import select


@dataclass(frozen=True)
class GradSign:
    """Column `grad_sign`: τ = Σ_k | Σ_i sign(∇_k L(θ_0; x_i)) | over a mini-batch, higher is better
    ("GradSign", algorithm 1). An integer, exact.

    As published, k runs over the weights of Conv2d and Linear modules only, and the samples go through the
    model one at a time in training mode: a batch norm sees the statistics of one image, dropout is on. Here
    the samples go through it together, with the same result. sign(0) = 0, but a gradient that is 0 save for
    rounding, as of a map that is constant after a batch norm, has the sign of that rounding in either way.

    Args:
        mode: "train" as published, or "eval": running statistics and no dropout.
        samples: of the mini-batch; the paper takes 64, and 128 to select among architectures.
        seed: of the draw.
    """

    mode: Literal["train", "eval"] = "train"
    samples: int | None = 64
    seed: int = 0
    split: Literal["train"] = field(default="train", init=False)
    own_passes: Literal[True] = field(default=True, init=False, repr=False)
    _sums: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False, compare=False)
    _seen: list[int] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.mode not in ("train", "eval"):
            raise ArgumentError("mode", "'train' or 'eval'", self.mode)

    def update(self, batch: Batch) -> None:
        """Take in one batch."""
        check_finite(batch)
        self._seen.append(len(batch))
        if self.mode == "eval":
            check_samples_are_apart(batch.model)
        with modes_as_found(batch.model):
            batch.model.train(self.mode == "train")
            torch.manual_seed(self.seed)
            with with_statistics_of_one_sample(batch.model):
                sweep = Backpropagation(batch.model, is_counted_weight)
                with sweep.attached():
                    start = 0
                    while start < len(batch):
                        index = slice(start, start := start + sweep.samples_at_once)
                        inputs, targets = select(batch.inputs, index), batch.targets[index]
                        losses = batch.loss(sweep.forward(inputs), targets)
                        torch.set_grad_enabled(False)  # the sweep turned it on
                        sweep.backward(losses, self._visit)

    def _visit(self, gradient: Gradient) -> None:
        name = gradient.place.name
        if not gradient.is_finite():
            raise NonFiniteError(f"the gradient of {name!r} is not finite")
        signs = gradient.sign_sums()
        self._sums[name] = self._sums[name] + signs if name in self._sums else signs

    def compute(self) -> Mapping[str, float]:
        """The column; starts anew."""
        samples = sum(self._seen)
        total = sum(absolute_sum(signs, samples) for signs in self._sums.values())
        self._sums.clear()
        self._seen.clear()
        return {"grad_sign": total}


def absolute_sum(signs: Tensor, samples: int) -> int:
    """Σ |s| of whole numbers, exact: float64 holds all up to 2^53, and float32 those up to 2^24, faster.

    Args:
        signs: s, sums of that many signs, [k, …]; written over.
        samples: an upper bound of |s|.
    """
    rows = signs.abs_().flatten(1)
    if rows.shape[1] * samples <= 2**24:
        rows = rows.sum(dim=1)
    return int(rows.sum(dtype=torch.float64))


def is_counted_weight(layer: nn.Module, name: str) -> bool:
    """Whether a layer's parameter is one that k runs over."""
    return name == "weight" and isinstance(layer, nn.Conv2d | nn.Linear)
