"""The mean of one number a sample, gathered batch by batch."""

import math

import torch
from torch import Tensor


class Mean:
    """A streamed mean, in float64 on the device the batches are on."""

    def __init__(self) -> None:
        self._sum: Tensor | None = None
        self._count = 0

    def __bool__(self) -> bool:
        """Whether it has taken in anything."""
        return self._count > 0

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


class Estimate:
    """The mean over a split, from all of its samples or from a random subset drawn without replacement."""

    def __init__(self) -> None:
        self._values: list[Tensor] = []
        self._mean = Mean()
        self._population = math.inf

    def add(self, values: Tensor, population: float) -> None:
        """Take in values [B].

        Args:
            values: one a sample.
            population: the split's number of samples N if these are of a subset, else inf.
        """
        self._mean.add(values)
        self._population = population
        if math.isfinite(population):
            self._values.append(values.double())

    def take(self, name: str) -> dict[str, float]:
        """The column of a name, and of a subset of n samples its `_standard_error` s/√n · √(1 − n/N), NaN for
        one sample of more; starts anew.
        """
        columns = {name: self._mean.take()}
        if self._values:
            values = torch.cat(self._values)
            variance = values.var().item() / len(values) if len(values) > 1 else math.nan
            left_out = 1 - len(values) / self._population
            columns[f"{name}_standard_error"] = math.sqrt(variance * left_out) if left_out else 0.0
        self._values, self._population = [], math.inf
        return columns
