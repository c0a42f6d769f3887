"""params: the number of parameters."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from hpo_gn.measures.batch import Batch


@dataclass(frozen=True)
class ParameterCount:
    """Column `params`: how many parameters require gradients, biases and normalization included; the baseline
    that is hard to beat.

    Args:
        samples: the same as the other scores' lets them share one walk over the split; no sample is used.
        seed: likewise.
    """

    samples: int = 64
    seed: int = 0
    split: Literal["train"] = field(default="train", init=False)
    _counts: list[int] = field(default_factory=list, init=False, repr=False, compare=False)

    def update(self, batch: Batch) -> None:
        """Count."""
        parameters = batch.model.parameters()
        self._counts[:] = [sum(parameter.numel() for parameter in parameters if parameter.requires_grad)]

    def compute(self) -> Mapping[str, float]:
        """The column, NaN if there was no batch; starts anew."""
        return {"params": float(self._counts.pop()) if self._counts else math.nan}
