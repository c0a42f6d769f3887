"""GN over the iterations of a training: the paper's definition."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from hpo_gn.errors import ArgumentError
from hpo_gn.measures.batch import Loss, cross_entropy
from hpo_gn.measures.gn import GN
from hpo_gn.measures.measuring import measure


class Path:
    """What `along_path` has gathered so far.

    Attributes:
        total: Σ_t gn_t over the iterations so far, or its estimate.
        standard_error: of the total; 0 where all samples were taken.
        iterations: t.
    """

    def __init__(self) -> None:
        self.total = 0.0
        self.iterations = 0
        self._variance = 0.0

    @property
    def standard_error(self) -> float:
        """Of the total: each iteration's subset is drawn anew, so that variances add up."""
        return math.sqrt(self._variance)

    def _add(self, row: dict[str, float]) -> None:
        self.total += row["gn"]
        self._variance += row.get("gn_standard_error", 0.0) ** 2
        self.iterations += 1


@contextmanager
def along_path(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    data: tuple[Tensor, Tensor],
    *,
    samples: int | None,
    seed: int = 0,
    loss: Loss = cross_entropy,
) -> Iterator[Path]:
    """Inside, each step of the optimizer adds to GN(θ_T) = Σ_t (1/N) Σ_i ‖∇L(θ_t; x_i)‖² ("Can we use
    gradient norm…", section 1): the definition, where a `GN` once an epoch approximates it.

    Args:
        model: what is trained.
        optimizer: whose steps are the iterations.
        data: the training split, inputs [N, …] and targets [N].
        samples: drawn anew at each iteration, at least 2, for an unbiased estimate; None for all, which costs
            an epoch an iteration.
        seed: of the draws.
        loss: the loss of each sample, (logits, targets) → [B].

    Raises:
        ArgumentError: samples is neither None nor from 2 to N.
    """
    population = len(data[1])
    if samples is not None and not 2 <= samples <= population:
        raise ArgumentError("samples", f"None or from 2 to {population}", samples)
    path = Path()

    def step(_optimizer: torch.optim.Optimizer, _args: Any, _kwargs: Any) -> None:
        gn = GN(samples, seed=seed + path.iterations)
        path._add(measure(model, data, [gn], loss=loss))

    handle = optimizer.register_step_post_hook(step)
    try:
        yield path
    finally:
        handle.remove()
