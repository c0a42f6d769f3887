"""Σσ/σ_max of a matrix whose rows come batch by batch, from its Gram matrix AᵀA, whose eigenvalues are σ²."""

import math
import sys
from collections.abc import Iterator

import torch
from torch import Tensor

from hpo_gn.measures.rounding import Rounding

_ENOUGH, _ENOUGH_ROWS = 2**18, 2**12
"""Numbers and rows of A worth a product, a megabyte or less."""
_PIECE = 1000
"""Rows multiplied at once in float64, few enough for the cache."""
_PANEL = 64
"""Columns multiplied at once, or a quarter of all if that is more."""


class Gram:
    """The Gram matrix of A [m, d], summed in float64, and from it Σσ/σ_max with a relative error below 1e-6.

    It multiplies in float32 until `Rounding` objects, in float64 from there on, and always where the rows are
    float64. Rows are kept until they are worth a product, and 1.5 d of them say something about A.

    Args:
        columns: d.
    """

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self._enough = max(3 * columns // 2, min(_ENOUGH // columns, _ENOUGH_ROWS))
        self._kept: Tensor | None = None
        self._waiting = self._rows = 0
        self._sum: Tensor | None = None
        self._rounding: Rounding | None = Rounding()

    def add(self, rows: Tensor) -> None:
        """Take in rows [n, d] of any floating dtype; half precision becomes float32."""
        rows = rows if rows.dtype == torch.float64 else rows.float()
        if not self._waiting and len(rows) >= self._enough:
            self._multiply(rows)
            return
        # Copies, since the model may change its activations in place.
        if self._kept is None:
            self._kept = rows.new_empty(self._enough, self.columns)
        for piece in self._fitting(rows):
            self._kept[self._waiting : self._waiting + len(piece)] = piece
            self._waiting += len(piece)
            if self._waiting == self._enough:
                self._multiply_kept()

    def _fitting(self, rows: Tensor) -> Iterator[Tensor]:
        """Rows in pieces that fill what room there is, one after the other."""
        start = 0
        while start < len(rows):
            stop = min(len(rows), start + self._enough - self._waiting)
            yield rows[start:stop]
            start = stop

    def _multiply_kept(self) -> None:
        assert self._kept is not None
        self._multiply(self._kept[: self._waiting])
        self._waiting = 0

    def _multiply(self, rows: Tensor) -> None:
        self._rows += len(rows)
        product = rows.new_zeros(self.columns, self.columns, dtype=torch.float64)
        if self._rounding is not None and rows.dtype == torch.float32:
            add_product(product, rows.T)
            total = self._plus(product)
            if self._rounding.allows(rows, product, total):
                self._sum = total
                return
            self._rounding = None
            product.zero_()
        for piece in rows.split(_PIECE):  # type: ignore[no-untyped-call]  # torch's
            # Contiguous columns make the product faster.
            add_product(product, piece.T.to(torch.float64, memory_format=torch.contiguous_format))
        self._sum = self._plus(product)

    def _plus(self, product: Tensor) -> Tensor:
        return product if self._sum is None else self._sum + product

    def nuclear_over_spectral_norm(self) -> float:
        """Σ_j σ_j / σ_max of the rows so far, at least one; 0 if all are zero, NaN if one is not finite."""
        if self._waiting:
            self._multiply_kept()
        assert self._sum is not None
        gram, energies = self._sum, self._sum.diagonal()
        least, most = map(float, energies.aminmax())
        if not math.isfinite(most) or most == 0:
            return 0 * most  # NaN, or 0
        if least == 0:
            live = energies.nonzero().squeeze(1)
            gram = gram[live][:, live]
        # d − m eigenvalues are 0, or more. Rounding makes those up to √d/8 of an epsilon.
        eigenvalues = torch.linalg.eigvalsh(gram)[-self._rows :].tolist()
        noise = sys.float_info.epsilon * math.sqrt(len(gram)) / 4
        shares = [eigenvalue / eigenvalues[-1] for eigenvalue in eigenvalues]
        return sum(math.sqrt(share) for share in shares if share > noise)


def add_product(total: Tensor, columns: Tensor) -> None:
    """Add AᵀA to a total, on and below the diagonal, which is all that its readers look at.

    Args:
        total: float64 [d, d].
        columns: Aᵀ, [d, n], multiplied in its own dtype.
    """
    width = max(_PANEL, len(total) // 4)
    for start in range(0, len(total), width):
        panel = slice(start, start + width)
        total[start:, panel] += columns[start:] @ columns[panel].T
