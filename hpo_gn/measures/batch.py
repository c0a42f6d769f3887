"""What a measure sees of one batch of the evaluation pass."""

from collections.abc import Callable
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

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
        inputs: as the model got them, [B, …].
        targets: int64 [B].
        logits: the model's output, [B, C].
        losses: one loss a sample, [B].
        features: inputs h of the last linear layer [B, d], where a measure asked for that layer; else None.
        bias: whether that layer has a bias.
    """

    def __init__(
        self,
        inputs: Tensor,
        targets: Tensor,
        logits: Tensor,
        losses: Tensor,
        loss: Loss = cross_entropy,
        features: Tensor | None = None,
        outputs: Tensor | None = None,
        bias: bool = True,
    ) -> None:
        self.inputs, self.targets, self.logits, self.losses = inputs, targets, logits, losses
        self.features, self.bias = features, bias
        self._loss, self._outputs = loss, outputs

    @cached_property
    def squared_delta_norms(self) -> Tensor:
        """‖δ‖² of each sample, δ = ∂L/∂z for the last linear layer's output z: float32 [B], or float64 for a
        float64 model.

        For cross entropy δ = p − onehot(y). Subtracting 1 from p_y loses all digits of a well-fitted sample,
        so p_y − 1 is written as minus the sum s of the other probabilities: ‖δ‖² = Σ_{k≠y} p_k² + s². For any
        other loss δ is the gradient of the summed loss with respect to z.
        """
        if self._loss is cross_entropy and self._outputs is self.logits:
            others = (
                _at_least_float32(self.logits.detach()).softmax(dim=1).scatter(1, self.targets[:, None], 0.0)
            )
            return others.square().sum(dim=1) + others.sum(dim=1).square()
        if self._outputs is None:
            raise ValueError("squared_delta_norms needs a pass that watches the last linear layer")
        (delta,) = torch.autograd.grad(self.losses.sum(), self._outputs, retain_graph=True)
        return _at_least_float32(delta).square().sum(dim=1)


def _at_least_float32(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()
