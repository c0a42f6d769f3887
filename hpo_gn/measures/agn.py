"""AGN: the mean squared gradient norm of the last linear layer, without a backward pass."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch

from hpo_gn.measures.batch import Batch
from hpo_gn.measures.mean import Estimate


@dataclass(frozen=True)
class AGN:
    """Column `agn`: agn_τ = (1/N) Σ_i ‖∇_FC L(θ_τ; x_i)‖² over the training split ("Can we use gradient
    norm…", section 2.1).

    A linear layer z = W h + b has ‖∇_W L‖² + ‖∇_b L‖² = ‖δ‖² (‖h‖² + 1) with δ = ∂L/∂z (Goodfellow 2015), and
    ‖δ‖² ‖h‖² without a bias, so that one forward pass gives it. AGN itself is the sum over epochs, which the
    objectives take from the History.

    Args:
        linear_layer: the layer's name in `model.named_modules()`; None for the last `nn.Linear` in that
            order.
        samples: measure a random subset of that many samples, an unbiased estimate; its `agn_standard_error`
            is a second column. None for all.
        seed: of the draw, the same each time.
    """

    linear_layer: str | None = None
    samples: int | None = None
    seed: int = 0
    split: Literal["train"] = field(default="train", init=False)
    _mean: Estimate = field(default_factory=Estimate, init=False, repr=False, compare=False)

    def update(self, batch: Batch) -> None:
        """Take in one batch."""
        if batch.features is None:
            raise ValueError("AGN needs a pass that watches the last linear layer")
        squared_deltas = batch.squared_delta_norms
        # The norm reads h once, where a square would write all of it first.
        norms = torch.linalg.vector_norm(batch.features, dim=1, dtype=squared_deltas.dtype)
        self._mean.add(squared_deltas * (norms.square() + int(batch.bias)), batch.population)

    def compute(self) -> Mapping[str, float]:
        """The column; starts anew."""
        return self._mean.take("agn")
