"""grad_norm: the gradient's norm, layer by layer."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from hpo_gn.measures.initialization.mini_batch import MiniBatch
from hpo_gn.measures.initialization.score import Score


@dataclass(frozen=True)
class GradNorm(Score):
    """Column `grad_norm` = Σ_l ‖∂L/∂W_l‖₂, a sum of layer norms and not the norm of all (Abdelfattah et al.
    2021, "Zero-cost proxies for lightweight NAS", section 3.2).

    W_l are the weights of the Conv2d and Linear layers, those that require gradients; L is the mean loss of
    the mini-batch, in train mode. Gradients are of the model's dtype, norms in float64. Arguments and errors
    are those of `Score`.
    """

    column: ClassVar[str] = "grad_norm"

    def score(self, batch: MiniBatch) -> float:
        """One forward and one backward pass."""
        gradients = batch.gradients().values()
        norms = [torch.linalg.vector_norm(gradient, dtype=torch.float64) for gradient in gradients]
        return torch.stack(norms).sum().item()
