"""snip: how much the loss depends on each weight's presence."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from hpo_gn.measures.initialization.mini_batch import MiniBatch
from hpo_gn.measures.initialization.score import Score


@dataclass(frozen=True)
class Snip(Score):
    """Column `snip` = Σ_k |W_k · ∂L/∂W_k| (Lee et al. 2019, "SNIP: single-shot network pruning based on
    connection sensitivity"; summed over the network: Abdelfattah et al. 2021, section 3.2).

    k runs over the weights of the Conv2d and Linear layers, those that require gradients; L is the mean loss
    of the mini-batch, in train mode. Gradients are of the model's dtype, the sum in float64. Arguments and
    errors are those of `Score`.
    """

    column: ClassVar[str] = "snip"

    def score(self, batch: MiniBatch) -> float:
        """One forward and one backward pass."""
        sums = [
            (weight.detach() * gradient).abs().sum(dtype=torch.float64)
            for weight, gradient in batch.gradients().items()
        ]
        return torch.stack(sums).sum().item()
