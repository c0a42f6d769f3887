"""What a measure sees of one batch of the evaluation pass."""

import math
from collections.abc import Callable
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from hpo_gn.errors import ModelError
from hpo_gn.measures.last_linear import Seen
from hpo_gn.measures.samples import Inputs

Split = Literal["train", "validation", "test"]
Loss = Callable[[Tensor, Tensor], Tensor]
"""(logits [B, C], targets [B]) → the loss of each sample [B]; a sample's loss depends on its own logits
only.
"""


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy of each sample: logits [B, C], targets int64 [B] → [B]."""
    return functional.cross_entropy(logits, targets, reduction="none")


class Batch:
    """One batch of an evaluation pass; what only some measures want is computed when first asked for.

    Attributes:
        model: what is measured, for measures that run passes of their own.
        inputs: as the model got them, [B, …], or tensors by argument name.
        targets: int64 [B].
        logits: the model's output, [B, C].
        losses: one loss a sample, [B].
        loss: what gave them.
        features: inputs h of the last linear layer [B, d], where a measure asked for that layer; else None.
        bias: whether that layer has a bias.
        population: the split's number of samples if the measure sees a random subset of it, else inf.
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: Inputs,
        targets: Tensor,
        logits: Tensor,
        losses: Tensor,
        loss: Loss = cross_entropy,
        seen: Seen | None = None,
        population: float = math.inf,
    ) -> None:
        self.model, self.inputs, self.targets, self.loss = model, inputs, targets, loss
        self.logits, self.losses = logits.detach(), losses.detach()
        self.features = None if seen is None else seen.features
        self.bias = seen is not None and seen.bias
        self.population = population
        self._seen, self._losses = seen, losses
        self._plain = loss is cross_entropy and seen is not None and seen.is_left_as(logits)

    def __len__(self) -> int:
        return len(self.targets)

    @cached_property
    def squared_delta_norms(self) -> Tensor:
        """‖δ‖² of each sample, δ = ∂L/∂z for the last linear layer's output z: float32 [B], or float64 for a
        float64 model; see `squared_delta_norms`.

        For a loss other than cross entropy, and for a model that changes z before it returns it, δ is the
        gradient of the summed loss with respect to z, as exact as the model's dtype allows.

        Raises:
            ModelError: the loss does not depend on z.
        """
        if self._seen is None:
            raise ValueError("squared_delta_norms needs a pass that watches the last linear layer")
        if self._plain:
            return squared_delta_norms(self.logits, self.targets, self.losses)
        return _at_least_float32(self._delta(self._seen)).square().sum(dim=1)

    def _delta(self, seen: Seen) -> Tensor:
        delta = None
        if self._losses.requires_grad:
            # Measures of all parameters still need the graph.
            ones = torch.ones_like(self._losses)
            (delta,) = torch.autograd.grad(
                self._losses, seen.outputs, ones, allow_unused=True, retain_graph=True
            )
        if delta is None:
            raise ModelError("the loss does not depend on the watched linear layer's output")
        return delta


def squared_delta_norms(logits: Tensor, targets: Tensor, losses: Tensor) -> Tensor:
    """‖δ‖² of each sample for cross entropy, where δ = p − onehot(y) with p = softmax(z).

    Subtracting 1 from p_y loses all digits of a well-fitted sample, so p_y − 1 is written as minus the sum s
    of the other probabilities: ‖δ‖² = Σ_{k≠y} p_k² + s². The losses L are known, so p_k = exp(z_k − z_y − L)
    takes a quarter of a softmax's time.

    Args:
        logits: z, [B, C].
        targets: y, int64 [B].
        losses: L, the cross entropy of each sample, [B].

    Returns:
        float32 [B], or float64 for float64 logits.
    """
    index = targets[:, None]
    logits, losses = _at_least_float32(logits), _at_least_float32(losses)
    others = (logits - logits.gather(1, index)).sub_(losses[:, None]).exp_().scatter_(1, index, 0.0)
    squares: Tensor = torch.linalg.vecdot(others, others)
    return squares + others.sum(dim=1).square()


def _at_least_float32(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()
