"""The rows of the spectra of activations: the streamed Gram matrix against svdvals of all rows at once.

The activations are ReLU(x W) with x [4000, d] and W [d, d] normal; ill-conditioned are U diag(σ) Vᵀ with σ
from 1 down to 1e-7 in equal ratios, for which the Gram matrix takes float64. They come in batches of 1,000,
which svdvals has to collect.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor

from benchmarks.measures.rows import Bar, Row
from benchmarks.measures.timing import Effort, interleave
from hpo_gn.measures.gram import Gram

WORST_ERROR = 1e-6
"""Relative, against svdvals in float64."""
SAMPLES, BATCH = 4_000, 1_000
WIDTHS = (32, 64, 128, 256, 512, 1024)


def activations(width: int) -> Tensor:
    """ReLU of random linear features, [4000, d]."""
    return (torch.randn(SAMPLES, width) @ torch.randn(width, width)).relu()


def ill_conditioned(width: int) -> Tensor:
    """Singular values from 1 down to 1e-7, [4000, d]."""
    left, _ = torch.linalg.qr(torch.randn(SAMPLES, width, dtype=torch.float64))
    right, _ = torch.linalg.qr(torch.randn(width, width, dtype=torch.float64))
    return ((left * torch.logspace(0, -7, width, dtype=torch.float64)) @ right.T).float()


MATRICES: dict[str, tuple[Callable[[int], Tensor], Bar]] = {
    "activations": (activations, Bar(0.8)),
    "condition 1e7": (ill_conditioned, Bar(1.3)),
}


def by_gram(batches: Sequence[Tensor]) -> float:
    """Σσ/σ_max, the product under test."""
    gram = Gram(batches[0].shape[1])
    for rows in batches:
        gram.add(rows)
    return gram.nuclear_over_spectral_norm()


def by_svdvals(batches: Sequence[Tensor]) -> float:
    """Σσ/σ_max the usual way, in the batches' dtype."""
    values = torch.linalg.svdvals(torch.cat(list(batches)))
    return (values.sum() / values[0]).item()


def rows(effort: Effort, widths: Sequence[int] = WIDTHS) -> Iterator[Row]:
    """Both on every matrix."""
    for kind, (make, bar) in MATRICES.items():
        for width in widths:
            batches = make(width).split(BATCH)
            error = abs(by_gram(batches) / by_svdvals([rows.double() for rows in batches]) - 1)
            unit, ours = partial(by_svdvals, batches), partial(by_gram, batches)
            timing = interleave(unit, ours, effort, batches[0].device)
            wrong = error > WORST_ERROR
            note = f"error {error:.0e} ≤ {WORST_ERROR:.0e}: {'missed' if wrong else 'reached'}"
            method = f"{kind}, d = {width}"
            yield Row("Spectrum / svdvals", method, timing.ratios, bar=bar, note=note, failed=wrong)
