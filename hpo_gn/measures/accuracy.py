"""The accuracy on a split."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from hpo_gn.measures.batch import Batch, Split
from hpo_gn.measures.mean import Mean
from hpo_gn.measures.contract import PREFIX


@dataclass(frozen=True)
class Accuracy:
    """Column `train_accuracy`, `val_accuracy` or `test_accuracy`: the share of samples whose largest logit is
    the target's, in [0, 1].
    """

    split: Split
    _mean: Mean = field(default_factory=Mean, init=False, repr=False, compare=False)

    def update(self, batch: Batch) -> None:
        """Take in one batch."""
        self._mean.add(batch.logits.argmax(dim=1) == batch.targets)

    def compute(self) -> Mapping[str, float]:
        """The column; starts anew."""
        return {f"{PREFIX[self.split]}_accuracy": self._mean.take()}
