"""An embedding's weight."""

from functools import cached_property

import torch
from torch import Tensor, nn

from hpo_gn.measures.gradients.gradient import Gradient, Place, has_finite_sum, squared_rows, working


class Lookup(Gradient):
    """Row v of g_i is the sum of δ_it over the positions t of sample i that hold index v.

    Only the rows that a sample uses are ever formed, [U, d] over all samples, U at most n · T.

    Args:
        place: whose they are.
        layer: the embedding.
        deltas: δ, [n, *positions, d].
        indices: [n, *positions].
    """

    def __init__(self, place: Place, layer: nn.Embedding, deltas: Tensor, indices: Tensor) -> None:
        super().__init__(place)
        self._rows = layer.num_embeddings
        self._deltas = working(deltas).reshape(len(deltas), -1, deltas.shape[-1])
        self._indices = indices.reshape(len(indices), -1)
        self._padding = layer.padding_idx

    @cached_property
    def _used(self) -> tuple[Tensor, Tensor, Tensor]:
        """Sample [U], index [U] and gradient [U, d] of each row that a sample uses."""
        samples = torch.arange(len(self), device=self._indices.device)[:, None]
        keys, inverse = (samples * self._rows + self._indices).flatten().unique(return_inverse=True)  # type: ignore[no-untyped-call]  # torch's
        sums = self._deltas.new_zeros(len(keys), self._deltas.shape[2])
        sums.index_add_(0, inverse, self._deltas.flatten(0, 1))
        sample, row = keys // self._rows, keys % self._rows
        if self._padding is not None:
            sums[row == self._padding] = 0
        return sample, row, sums

    def per_sample(self, index: slice) -> Tensor:
        """The gradients of the samples at an index, [b, V, d]."""
        sample, row, sums = self._used
        wanted = range(len(self))[index]
        chosen = (sample >= wanted.start) & (sample < wanted.stop)
        gradients = sums.new_zeros(len(wanted), self._rows, sums.shape[1])
        gradients[sample[chosen] - wanted.start, row[chosen]] = sums[chosen]
        return gradients

    def is_finite(self) -> bool:
        """Whether the deltas are."""
        return has_finite_sum(self._deltas)

    def squared_norms(self) -> Tensor:
        """‖g_i‖², [n]."""
        sample, _, sums = self._used
        return sums.new_zeros(len(self)).index_add_(0, sample, squared_rows(sums))

    def add_moments(self, first: Tensor, second: Tensor) -> None:
        """Add Σ_i g_i and Σ_i g_i², [V, d] both."""
        _, row, sums = self._used
        first.index_add_(0, row, sums)
        second.index_add_(0, row, sums.square())

    def sign_sums(self) -> Tensor:
        """Σ_i sign(g_i), [V, d]."""
        _, row, sums = self._used
        return self._add(row, sums.sign())

    def nonzeros(self) -> Tensor:
        """Σ_i |sign(g_i)|, [V, d]."""
        _, row, sums = self._used
        return self._add(row, (sums != 0).to(sums))

    def _add(self, row: Tensor, values: Tensor) -> Tensor:
        return self._zeros().index_add_(0, row, values)
