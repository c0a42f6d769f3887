"""The mean of one number a sample, gathered batch by batch."""

import math

import torch
from torch import Tensor


class Mean:
    """A streamed mean, summed in float64 on the device the batches are on."""

    def __init__(self) -> None:
        self._sum: Tensor | None = None
        self._count = 0

    def add(self, values: Tensor) -> None:
        """Take in values [B]."""
        total = values.sum(dtype=torch.float64)
        self._sum = total if self._sum is None else self._sum + total
        self._count += len(values)

    def take(self) -> float:
        """The mean of everything since the last call; NaN of nothing."""
        total, count = self._sum, self._count
        self._sum, self._count = None, 0
        return total.item() / count if total is not None and count else math.nan
