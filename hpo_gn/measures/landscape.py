"""The mean loss around a model's parameters."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from hpo_gn.errors import ModelError
from hpo_gn.measures.batch import Loss
from hpo_gn.measures.samples import Inputs, call, pieces

_PIECE = 128
"""Samples at once; a backward pass keeps every layer's activations."""


class Landscape:
    """f: the mean loss over samples, of the parameters that require gradients.

    A call moves the parameters and puts them back bit for bit, also when the model raises; their `grad` stays
    as it is.

    Args:
        model: called as it is, in the mode that it is in.
        loss: (logits, targets [B]) → [B].

    Attributes:
        x: the parameters, [n]: float64 if one of them is, else float32.

    Raises:
        ModelError: no parameter requires gradients.
    """

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        self._model, self._loss = model, loss
        self._samples: list[tuple[Inputs, Tensor]] = []
        self._parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        if not self._parameters:
            raise ModelError("sharpness needs a parameter that requires gradients, and the model has none")
        self._origins = [parameter.detach().clone() for parameter in self._parameters]
        x = _flat(self._origins)
        self.x = x.to(torch.promote_types(x.dtype, torch.float32))

    def add(self, inputs: Inputs, targets: Tensor) -> None:
        """Take in samples, without a copy."""
        self._samples.extend(pieces(inputs, targets, _PIECE))

    def __call__(self, step: Tensor) -> tuple[float, Tensor]:
        """f(x + step) and ∇f there; each parameter rounds x + step to its own dtype.

        Args:
            step: [n], of x's dtype.

        Returns:
            f, summed in float64, and ∇f, [n], of x's dtype.

        Raises:
            ModelError: the loss does not depend on the parameters.
        """
        steps = torch.split(step, [origin.numel() for origin in self._origins])
        try:
            self._overwrite(
                origin + part.view_as(origin) for origin, part in zip(self._origins, steps, strict=True)
            )
            return self._mean_loss()
        finally:
            self._overwrite(self._origins)

    @torch.no_grad()
    def _overwrite(self, values: Iterable[Tensor]) -> None:
        for parameter, value in zip(self._parameters, values, strict=True):
            parameter.copy_(value)

    @torch.enable_grad()
    def _mean_loss(self) -> tuple[float, Tensor]:
        total, gradient = self.x.new_zeros((), dtype=torch.float64), torch.zeros_like(self.x)
        for inputs, targets in self._samples:
            losses = self._loss(call(self._model, inputs), targets)
            if not losses.requires_grad:
                raise ModelError("sharpness needs a loss that depends on a parameter that requires gradients")
            total += losses.detach().sum(dtype=torch.float64)
            gradient += _flat(torch.autograd.grad(losses.sum(), self._parameters, materialize_grads=True))
        count = sum(len(targets) for _, targets in self._samples)
        return total.item() / count, gradient / count


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])
