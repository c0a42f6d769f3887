"""The mean loss of a split."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hpo_gn.measures.batch import Batch, Split
from hpo_gn.measures.contract import PREFIX
from hpo_gn.measures.mean import Estimate


@dataclass(frozen=True)
class MeanLoss:
    """Column `train_loss`, `val_loss` or `test_loss`: the mean over the split of each sample's loss.

    Args:
        split: what it is the mean of.
        samples: measure a random subset of that many samples, an unbiased estimate; its `_standard_error` is
            a second column. None for all.
        seed: of the draw, the same each time.
    """

    split: Split
    samples: int | None = None
    seed: int = 0
    _mean: Estimate = field(default_factory=Estimate, init=False, repr=False, compare=False)

    def update(self, batch: Batch) -> None:
        """Take in one batch."""
        self._mean.add(batch.losses, batch.population)

    def compute(self) -> Mapping[str, float]:
        """The column; starts anew."""
        return self._mean.take(f"{PREFIX[self.split]}_loss")
