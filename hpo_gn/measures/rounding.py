"""Whether float32 products are good enough for the sum of a matrix's singular values."""

import math
import sys
from functools import lru_cache

import torch
from torch import Tensor

TOLERANCE = 3e-7
"""The standard error, relative, that float32 may bring into Σσ: a third of the 1e-6 that is promised."""
FLOAT32_ERROR = 1e-7
"""Of a sum of squares in float32, relative: 0.6 to 1.2e-7 was measured, for 64 terms as for 4,000."""
_PROBES = 16
"""Random vectors that a diagonal is estimated from, with an error of a third or less in the sum over it."""


class Rounding:
    """Watches a Gram matrix G = AᵀA that is a sum of float32 products, and foretells the error of Σσ = tr √G.

    An error E of G changes tr √G by ½ tr(G^(−½) E). Rounding gives the entries of a product P independent
    errors of about u √(P_ii P_jj), and thus Σσ a variance of at most ½ u² Σ_i (G⁻¹)_ii Σ_P P_ii². It is
    ill-conditioned matrices that need float64, those with a large G⁻¹. Further rows can only make G⁻¹ smaller
    and Σσ larger, so a bound by (G⁻¹)_ii / (Σσ)² of the first rows holds with all that follow.
    """

    def __init__(self) -> None:
        self._unit = FLOAT32_ERROR
        self._squares: Tensor | None = None
        self._weights: Tensor | None = None

    def allows(self, rows: Tensor, product: Tensor, total: Tensor) -> bool:
        """Whether Σσ keeps a standard error below 3e-7 of it with one more product.

        Args:
            rows: those that were multiplied, float32 [n, d].
            product: P, theirs, float64 [d, d]; what is above the diagonal is not read.
            total: G with it, likewise.
        """
        energies = product.diagonal()
        if self._squares is None or self._weights is None:
            self._unit = measured_error(rows, energies)
            self._squares = energies.square()
        else:
            self._squares += energies.square()
            if self._error(self._squares, self._weights) <= TOLERANCE:
                return True
        self._weights = sensitivities(total)
        return self._error(self._squares, self._weights) <= TOLERANCE

    def _error(self, squares: Tensor, weights: Tensor) -> float:
        return self._unit * math.sqrt(float(squares @ weights) / 2)


def measured_error(rows: Tensor, energies: Tensor) -> float:
    """The relative error of the largest sum of squares, at least 1e-7; NaN if all are zero.

    TF32 and autocast, which may be on where this runs, make it 1e-5 to 1e-3.

    Args:
        rows: those that were multiplied, float32 [n, d].
        energies: the diagonal of their product, float64 [d].
    """
    largest, place = map(float, energies.max(dim=0))
    column = rows[:, int(place)].double()
    return max(abs(float(column @ column) / largest - 1), FLOAT32_ERROR) if largest else math.nan


def sensitivities(gram: Tensor) -> Tensor:
    """(G⁻¹)_ii / (tr L)² of each column, float64 [d], for G = L Lᵀ, where tr L is at most Σσ.

    The diagonal of G⁻¹ = L⁻ᵀ L⁻¹ is estimated by that of (L⁻ᵀ Z)(L⁻ᵀ Z)ᵀ with a random Z. A column of zeros
    has the largest number there is, and so have all columns if G is singular in float32.

    Args:
        gram: G, float64 [d, d].
    """
    live = gram.diagonal().nonzero().squeeze(1)
    if len(live) < len(gram):
        weights = gram.new_full((len(gram),), sys.float_info.max)
        weights[live] = sensitivities(gram[live][:, live])
        return weights
    factor, failed = torch.linalg.cholesky_ex(gram.float())
    if failed:
        return gram.new_full((len(gram),), sys.float_info.max)
    solved = torch.linalg.solve_triangular(factor.mT, _probes(len(gram), gram.device), upper=True)
    scaled: Tensor = solved / factor.diagonal().sum()
    return scaled.double().square().mean(dim=1)


@lru_cache(maxsize=16)
def _probes(length: int, device: torch.device) -> Tensor:
    """Z: drawing it takes as long as a small product."""
    generator = torch.Generator(device).manual_seed(0)
    return torch.randn(length, _PROBES, generator=generator, device=device)
