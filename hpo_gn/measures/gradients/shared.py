"""A parameter that is used more than once."""

from collections.abc import Sequence

import torch
from torch import Tensor

from hpo_gn.measures.gradients.gradient import Gradient, Place


class Sum(Gradient):
    """Σ of the gradients of each use. Norms and signs do not add up, so the gradients are formed, chunk by
    chunk.

    Args:
        place: whose they are.
        uses: one form a use.
    """

    def __init__(self, place: Place, uses: Sequence[Gradient]) -> None:
        super().__init__(place)
        self._uses = uses

    def per_sample(self, index: slice) -> Tensor:
        """The gradients of the samples at an index, [b, *shape]."""
        return torch.stack([use.per_sample(index) for use in self._uses]).sum(dim=0)

    def is_finite(self) -> bool:
        """Whether those of all uses are."""
        return all(use.is_finite() for use in self._uses)
