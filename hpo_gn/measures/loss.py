"""The mean loss of a split."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hpo_gn.measures.batch import Batch, Split
from hpo_gn.measures.mean import Mean
from hpo_gn.measures.contract import PREFIX


@dataclass(frozen=True)
class MeanLoss:
    """Column `train_loss`, `val_loss` or `test_loss`: the mean over the split of each sample's loss."""

    split: Split
    _mean: Mean = field(default_factory=Mean, init=False, repr=False, compare=False)

    def update(self, batch: Batch) -> None:
        """Take in one batch."""
        self._mean.add(batch.losses)

    def compute(self) -> Mapping[str, float]:
        """The column; starts anew."""
        return {f"{PREFIX[self.split]}_loss": self._mean.take()}
