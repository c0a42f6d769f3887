"""grasp: how the gradient's flow would change without each weight."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from hpo_gn.errors import ModelError
from hpo_gn.measures.initialization.mini_batch import MiniBatch, gradients_of
from hpo_gn.measures.initialization.score import Score


@dataclass(frozen=True)
class Grasp(Score):
    """Column `grasp` = Σ −W · (H g), H the Hessian of L and g its gradient, of the same mini-batch (Wang et
    al. 2020, "Picking winning tickets before training by preserving gradient flow"; summed over the network:
    Abdelfattah et al. 2021, section 3.2).

    W are the weights of the Conv2d and Linear layers, those that require gradients; L is the mean loss, in
    train mode. H g is ∂(gᵀ ∂L/∂W)/∂W with g detached. Gradients are of the model's dtype, the sum in float64.
    Arguments and errors are those of `Score`; ModelError also if autograd cannot differentiate twice.
    """

    column: ClassVar[str] = "grasp"

    def score(self, batch: MiniBatch) -> float:
        """One forward pass, a backward pass, and a backward pass through both."""
        with _twice_differentiable():
            gradients = batch.gradients(create_graph=True)
            flow = torch.stack([(each.detach() * each).sum() for each in gradients.values()]).sum()
            if not flow.requires_grad:  # the loss is linear in the weights
                return 0.0
            products = gradients_of(flow, list(gradients))
        sums = [
            (weight.detach() * product).sum(dtype=torch.float64)
            for weight, product in zip(gradients, products, strict=True)
        ]
        return -torch.stack(sums).sum().item()


@contextmanager
def _twice_differentiable() -> Iterator[None]:
    """Attention without its fused kernels, which have no second derivative; ModelError for others like it."""
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    except RuntimeError as error:
        if "not implemented" not in str(error):
            raise
        first_line = str(error).splitlines()[0]
        raise ModelError(f"grasp needs a model that has second derivatives: {first_line}") from error
