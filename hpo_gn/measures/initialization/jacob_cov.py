"""jacob_cov: how differently the network responds around different samples."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from hpo_gn.errors import ModelError
from hpo_gn.measures.initialization.mini_batch import MiniBatch, gradients_of
from hpo_gn.measures.initialization.score import Score

_K = 1e-5


@dataclass(frozen=True)
class JacobCov(Score):
    """Column `jacob_cov` = −Σ_i (log(v_i + k) + 1/(v_i + k)), k = 1e-5, v the eigenvalues of the correlation
    matrix [B, B] of the samples' flattened gradients ∂(Σ logits)/∂x_i (Mellor et al. 2020, "Neural
    architecture search without training", version 1; Abdelfattah et al. 2021, section 3.2).

    The logits of all samples are summed, in train mode: through a batch norm, a sample's gradient also holds
    what it does to the others' logits. Gradients are of the model's dtype, correlations and eigenvalues in
    float64.

    Arguments and errors are those of `Score`; ModelError also if the inputs are not one floating-point
    tensor, or a sample's gradient is the same everywhere, which leaves its correlations undefined.
    """

    column: ClassVar[str] = "jacob_cov"

    def score(self, batch: MiniBatch) -> float:
        """One forward and one backward pass."""
        inputs = batch.float_inputs(self.column).detach().requires_grad_()
        logits = replace(batch, inputs=inputs).logits()
        (gradients,) = gradients_of(logits.sum(), [inputs])
        if not gradients.isfinite().all():
            return math.nan
        eigenvalues: Tensor = torch.linalg.eigvalsh(_correlations(gradients.flatten(1).double()))
        return -((eigenvalues + _K).log() + 1 / (eigenvalues + _K)).sum().item()


def _correlations(rows: Tensor) -> Tensor:
    """Pearson correlations [B, B] of rows [B, d]."""
    centred = rows - rows.mean(dim=1, keepdim=True)
    norms: Tensor = torch.linalg.vector_norm(centred, dim=1, keepdim=True)
    if not norms.all():
        sample = int(norms.argmin())
        raise ModelError(f"jacob_cov needs input gradients that vary, got a constant one for sample {sample}")
    scaled = centred / norms
    return scaled @ scaled.T
