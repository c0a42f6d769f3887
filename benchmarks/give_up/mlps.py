"""Several multilayer perceptrons of one architecture trained at once on the same batches, with the gradients
written out: on a CPU about twice as fast as `hpo_gn.stacked` and as networks one at a time, see
`benchmarks.give_up.stacked_speed`.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional

from hpo_gn.measures.gram import Gram

_LATE = 1e6
"""A step at which Adam's bias correction is 1 in any precision."""


def xavier(widths: Sequence[int], factor: float, seed: int) -> list[Tensor]:
    """Normal Xavier weights [out, in] of each layer, their standard deviation times a factor."""
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(fan_out, fan_in, generator=generator) * (factor * math.sqrt(2 / (fan_in + fan_out)))
        for fan_in, fan_out in pairwise(widths)
    ]


class Mlps:
    """K perceptrons with ReLU and biases that start at 0.

    Activations are [K, features, B]: with so few samples in a batch the products are fastest that way.

    Args:
        weights: each network's weights [out, in] by layer.
        optimizer: "adam", "rmsprop" or "sgd", with torch's defaults.
        learning_rate: of all.
        device: where they are trained.
    """

    def __init__(
        self,
        weights: Sequence[Sequence[Tensor]],
        optimizer: str,
        learning_rate: float,
        device: torch.device | str = "cpu",
    ) -> None:
        layers = [torch.stack(layer) for layer in zip(*weights, strict=True)]
        shapes = [shape for layer in layers for shape in (layer.shape, (*layer.shape[:2], 1))]
        # One tensor for all, since an optimizer's step takes longer over many.
        everything = torch.zeros(sum(map(math.prod, shapes)), device=device)
        everything.grad = torch.zeros_like(everything)
        self.weights, self.biases = _views(everything, shapes)
        self._weight_grads, self._bias_grads = _views(everything.grad, shapes)
        for own, initial in zip(self.weights, layers, strict=True):
            own.copy_(initial)
        self._optimizer = _optimizer(optimizer, everything, learning_rate)

    def __len__(self) -> int:
        return len(self.weights[0])

    def forward(self, inputs: Tensor) -> list[Tensor]:
        """Inputs [B, d] of all networks; each layer's outputs [K, d_l, B], after ReLU but for the logits."""
        first, shift = self.weights[0].flatten(0, 1), self.biases[0].flatten(0, 1)
        outputs = [torch.addmm(shift, first, inputs.T).view(len(self), -1, len(inputs))]
        for weights, biases in zip(self.weights[1:], self.biases[1:], strict=True):
            outputs.append(torch.baddbmm(biases, weights, outputs[-1].relu_()))
        return outputs

    def step(self, inputs: Tensor, targets: Tensor) -> None:
        """One step of each network along its mean cross entropy over inputs [B, d]."""
        *hidden, logits = self.forward(inputs)
        deltas = logits.softmax(1)
        deltas[:, targets, torch.arange(len(targets), device=targets.device)] -= 1
        deltas /= len(targets)
        for number in reversed(range(len(self.weights))):
            torch.sum(deltas, 2, keepdim=True, out=self._bias_grads[number])
            if number == 0:
                torch.mm(deltas.flatten(0, 1), inputs, out=self._weight_grads[0].flatten(0, 1))
                break
            below = hidden[number - 1]
            torch.bmm(deltas, below.transpose(1, 2), out=self._weight_grads[number])
            # What comes out of ReLU is at least 0, so that its sign is the derivative.
            deltas = torch.bmm(self.weights[number].transpose(1, 2), deltas).mul_(below.sign_())
        self._optimizer.step()

    def run_epoch(self, inputs: Tensor, targets: Tensor, batch: int, seed: int) -> None:
        """Each sample once, in an order that the seed fixes; the last batch may be smaller."""
        order = torch.randperm(len(targets), generator=torch.Generator().manual_seed(seed))
        for index in order.to(inputs.device).split(batch):
            self.step(inputs[index], targets[index])

    def judge(self, inputs: Tensor, targets: Tensor, split: str, piece: int = 2000) -> list[dict[str, float]]:
        """Each network's mean loss and accuracy, in the columns that `hpo_gn.measures` gives."""
        losses = torch.zeros(len(self), dtype=torch.float64, device=inputs.device)
        right = torch.zeros(len(self), device=inputs.device)
        for some, labels in zip(inputs.split(piece), targets.split(piece), strict=True):
            logits = self.forward(some)[-1]
            each = [functional.cross_entropy(one.T.double(), labels, reduction="sum") for one in logits]
            losses += torch.stack(each)
            right += (logits.argmax(1) == labels).sum(-1)
        rows = zip((losses / len(targets)).tolist(), (right / len(targets)).tolist(), strict=True)
        return [{f"{split}_loss": loss, f"{split}_accuracy": accuracy} for loss, accuracy in rows]

    def spectra(self, inputs: Tensor) -> list[dict[str, float]]:
        """Each network's columns of `hpo_gn.measures.Spectrum`, its hidden layers called 0, 1, ….

        NaN where activations are not finite.
        """
        rows: list[dict[str, float]] = [{} for _ in range(len(self))]
        for number, layer in enumerate(self.forward(inputs)[:-1]):
            for row, activations in zip(rows, layer, strict=True):
                gram = Gram(len(activations))
                gram.add(activations.T)
                row[f"spectrum:{number}"] = gram.nuclear_over_spectral_norm()
        return rows


def _views(everything: Tensor, shapes: Sequence[Sequence[int]]) -> tuple[list[Tensor], list[Tensor]]:
    """Parts of a tensor by layer: weights and biases."""
    parts = everything.detach().split([math.prod(shape) for shape in shapes])
    views = [part.view(*shape) for part, shape in zip(parts, shapes, strict=True)]
    return views[::2], views[1::2]


def _optimizer(name: str, everything: Tensor, learning_rate: float) -> torch.optim.Optimizer:
    if name == "sgd":
        return torch.optim.SGD([everything], learning_rate, fused=True)
    if name == "adam":
        return torch.optim.Adam([everything], learning_rate, fused=True)
    # RMSprop is Adam without momentum and long after its first step, and Adam has a fused kernel.
    adam = torch.optim.Adam([everything], learning_rate, betas=(0.0, 0.99), fused=True)
    moments = {name: torch.zeros_like(everything) for name in ("exp_avg", "exp_avg_sq")}
    adam.state[everything] = {"step": torch.tensor(_LATE, device=everything.device), **moments}
    return adam
