"""The mean of one number a sample, gathered batch by batch."""

import math

import torch
from torch import Tensor


class Mean:
    """The mean of numbers that come batch by batch, in float64. All are kept, one a sample, and summed at the
    end.
    """

    def __init__(self) -> None:
        self._values: list[Tensor] = []

    def __bool__(self) -> bool:
        """Whether it has taken in anything."""
        return bool(self._values)

    def add(self, values: Tensor) -> None:
        """Take in values [B]."""
        self._values.append(values)

    def take(self) -> float:
        """The mean of everything since the last call; NaN of nothing."""
        return self.take_all().mean().item()

    def take_all(self) -> Tensor:
        """Everything since the last call, float64 [N]."""
        values, self._values = self._values, []
        return torch.cat(values).double() if values else torch.empty(0, dtype=torch.float64)


class Estimate:
    """The mean over a split, from all of its samples or from a random subset drawn without replacement."""

    def __init__(self) -> None:
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

    def take(self, name: str) -> dict[str, float]:
        """The column of a name, and of a subset of n samples its `_standard_error` s/√n · √(1 − n/N), NaN for
        one sample of more; starts anew.
        """
        values, population = self._mean.take_all(), self._population
        self._population = math.inf
        columns = {name: values.mean().item()}
        if math.isfinite(population):
            samples = len(values)
            variance = values.var().item() / samples if samples > 1 else math.nan
            columns[f"{name}_standard_error"] = (
                math.sqrt(variance * left) if (left := 1 - samples / population) else 0.0
            )
        return columns
