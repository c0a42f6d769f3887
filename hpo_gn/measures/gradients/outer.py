"""A linear layer's weight where the layer sees one vector a sample."""

import torch
from torch import Tensor

from hpo_gn.measures.gradients.gradient import Gradient, Place, has_finite_sum, squared_rows, working


class Outer(Gradient):
    """g_i = δ_i h_iᵀ: a product of two vectors a sample, of which everything follows without forming it
    (Goodfellow 2015).

    Args:
        place: whose they are.
        deltas: δ, [n, k].
        inputs: h, [n, d].
    """

    def __init__(self, place: Place, deltas: Tensor, inputs: Tensor) -> None:
        super().__init__(place)
        self._deltas, self._inputs = working(deltas), working(inputs)

    def per_sample(self, index: slice) -> Tensor:
        """The gradients of the samples at an index, [b, k, d]."""
        return self._deltas[index, :, None] * self._inputs[index, None, :]

    def is_finite(self) -> bool:
        """Whether the deltas are."""
        return has_finite_sum(self._deltas)

    def squared_norms(self) -> Tensor:
        """‖δ_i‖² ‖h_i‖², [n]."""
        return squared_rows(self._deltas) * squared_rows(self._inputs)

    def moments(self) -> tuple[Tensor, Tensor]:
        """δᵀh and (δ²)ᵀ(h²), [k, d] both."""
        squares = self._deltas.square().T @ self._inputs.square()
        return self._deltas.T @ self._inputs, squares

    def add_moments(self, first: Tensor, second: Tensor) -> None:
        """The same, added while they are multiplied."""
        first.addmm_(self._deltas.T, self._inputs)
        second.addmm_(self._deltas.square().T, self._inputs.square())

    def sign_sums(self) -> Tensor:
        """sign(δ)ᵀ sign(h), [k, d]."""
        return self._deltas.sign().T @ self._inputs.sign()

    def nonzeros(self) -> Tensor:
        """[δ ≠ 0]ᵀ [h ≠ 0], [k, d]."""
        return (self._deltas != 0).to(self._deltas).T @ (self._inputs != 0).to(self._inputs)


class Product(Gradient):
    """g_i = Σ_t δ_it h_itᵀ: a linear layer over positions.

    Args:
        place: whose they are.
        deltas: δ, [n, T, k].
        inputs: h, [n, T, d].
    """

    def __init__(self, place: Place, deltas: Tensor, inputs: Tensor) -> None:
        super().__init__(place)
        self._deltas, self._inputs = working(deltas), working(inputs)

    def per_sample(self, index: slice) -> Tensor:
        """The gradients of the samples at an index, [b, k, d]."""
        return torch.bmm(self._deltas[index].mT, self._inputs[index])

    def is_finite(self) -> bool:
        """Whether the deltas are."""
        return has_finite_sum(self._deltas)

    def squared_norms(self) -> Tensor:
        """‖g_i‖², [n], where positions are few from their inner products: Σ_tu (δ_t·δ_u)(h_t·h_u)."""
        _, positions, outputs = self._deltas.shape
        inputs = self._inputs.shape[2]
        if positions * (outputs + inputs) >= outputs * inputs:
            return super().squared_norms()
        deltas = torch.bmm(self._deltas, self._deltas.mT)
        return (deltas * torch.bmm(self._inputs, self._inputs.mT)).sum(dim=(1, 2))
