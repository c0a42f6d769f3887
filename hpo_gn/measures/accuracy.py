"""The accuracy on a split."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hpo_gn.measures.batch import Batch, Split
from hpo_gn.measures.contract import PREFIX
from hpo_gn.measures.mean import Estimate


@dataclass(frozen=True)
class Accuracy:
    """Column `train_accuracy`, `val_accuracy` or `test_accuracy`: the share of samples whose largest logit is
    the target's, in [0, 1].

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
        self._mean.add(batch.logits.argmax(dim=1) == batch.targets, batch.population)

    def compute(self) -> Mapping[str, float]:
        """The column; starts anew."""
        return self._mean.take(f"{PREFIX[self.split]}_accuracy")
