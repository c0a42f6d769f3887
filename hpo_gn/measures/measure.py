"""The contract of a measure."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from hpo_gn.measures.batch import Batch, Split


@runtime_checkable
class Measure(Protocol):
    """Numbers read off a model in one pass over a split.

    Two measures that compare equal are computed once. A measure that also has an attribute `linear_layer` (a
    name, or None for the model's last `nn.Linear`) gets that layer's inputs in `Batch.features` and its δ in
    `Batch.squared_delta_norms`.
    """

    @property
    def split(self) -> Split:
        """The split it is computed on."""

    def update(self, batch: Batch) -> None:
        """Take in one batch."""

    def compute(self) -> Mapping[str, float]:
        """The columns of the epoch's row, over all batches since the last call; starts anew."""


PREFIX: dict[Split, str] = {"train": "train", "validation": "val", "test": "test"}
"""How a split's columns begin."""
