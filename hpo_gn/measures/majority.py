"""What a model that learnt nothing can have: the accuracy of always naming one class."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from hpo_gn.measures.batch import Batch, Split
from hpo_gn.measures.contract import PREFIX


@dataclass(frozen=True)
class Majority:
    """Column `train_majority`, `val_majority` or `test_majority`: the share of the split's most frequent
    class, in (0, 1], which is the best accuracy that a constant prediction has.

    Args:
        split: whose targets are counted.
        samples: count a random subset of that many samples, those that an `Accuracy` of as many is of. None
            for all.
        seed: of the draw, the same each time.
    """

    split: Split = "train"
    samples: int | None = None
    seed: int = 0
    _counts: Counter[int] = field(default_factory=Counter, init=False, repr=False, compare=False)

    def update(self, batch: Batch) -> None:
        """Take in one batch."""
        self._counts.update(dict(enumerate(batch.targets.bincount().tolist())))

    def compute(self) -> Mapping[str, float]:
        """The column, NaN without a batch; starts anew."""
        counts = Counter(self._counts)
        self._counts.clear()
        share = max(counts.values()) / counts.total() if counts else float("nan")
        return {f"{PREFIX[self.split]}_majority": share}
