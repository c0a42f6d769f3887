"""What a measure sees of one batch of the evaluation pass."""

from collections.abc import Callable
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from hpo_gn.errors import ModelError
from hpo_gn.measures.last_linear import Seen

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
        seen: Seen | None = None,
    ) -> None:
        self.inputs, self.targets = inputs, targets
        self.logits, self.losses = logits.detach(), losses.detach()
        self.features = None if seen is None else seen.features
        self.bias = seen is not None and seen.bias
        self._seen, self._losses = seen, losses
        self._plain = loss is cross_entropy and seen is not None and seen.is_left_as(logits)

    @cached_property
    def squared_delta_norms(self) -> Tensor:
        """‖δ‖² of each sample, δ = ∂L/∂z for the last linear layer's output z: float32 [B], or float64 for a
        float64 model.

        For cross entropy δ = p − onehot(y). Subtracting 1 from p_y loses all digits of a well-fitted sample,
        so p_y − 1 is written as minus the sum s of the other probabilities: ‖δ‖² = Σ_{k≠y} p_k² + s². For any
        other loss, and for a model that changes z before it returns it, δ is the gradient of the summed loss
        with respect to z, as exact as the model's dtype allows.

        Raises:
            ModelError: the loss does not depend on z.
        """
        if self._seen is None:
            raise ValueError("squared_delta_norms needs a pass that watches the last linear layer")
        if self._plain:
            others = _at_least_float32(self.logits).softmax(dim=1).scatter_(1, self.targets[:, None], 0.0)
            return others.square().sum(dim=1) + others.sum(dim=1).square()
        return _at_least_float32(self._delta(self._seen)).square().sum(dim=1)

    def _delta(self, seen: Seen) -> Tensor:
        delta, ones = None, torch.ones_like(self._losses)
        if self._losses.requires_grad:
            (delta,) = torch.autograd.grad(self._losses, seen.outputs, ones, allow_unused=True)
        if delta is None:
            raise ModelError("the loss does not depend on the watched linear layer's output")
        return delta


def _at_least_float32(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()
