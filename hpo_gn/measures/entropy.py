"""The entropy of a model's predictions."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from hpo_gn.measures.batch import Batch, Split
from hpo_gn.measures.contract import PREFIX
from hpo_gn.measures.mean import Estimate


@dataclass(frozen=True)
class PredictionEntropy:
    """Column `train_entropy`, `val_entropy` or `test_entropy`: the mean over the split of −Σ_k p_k log p_k /
    log C, with p the softmax of a sample's C logits, in [0, 1].

    It is 1 where every class is as likely as any other, as of a model that has learnt nothing, and goes to 0
    as the model gets sure, right or wrong.

    Args:
        split: what it is the mean of.
        samples: measure a random subset of that many samples, an unbiased estimate; its `_standard_error` is
            a second column. None for all.
        seed: of the draw, the same each time.
    """

    split: Split = "train"
    samples: int | None = None
    seed: int = 0
    _mean: Estimate = field(default_factory=Estimate, init=False, repr=False, compare=False)

    def update(self, batch: Batch) -> None:
        """Take in one batch, logits [B, C] with C ≥ 2."""
        logits = batch.logits if batch.logits.dtype.itemsize >= 4 else batch.logits.float()
        log_p = logits.log_softmax(dim=1)
        entropy = -(log_p.exp() * log_p.clamp_min(_LOG_OF_LEAST)).sum(dim=1)
        self._mean.add(entropy / math.log(logits.shape[1]), batch.population)

    def compute(self) -> Mapping[str, float]:
        """The column; starts anew."""
        return self._mean.take(f"{PREFIX[self.split]}_entropy")


_LOG_OF_LEAST = -1e4
"""Where a probability is 0 its logarithm is not finite; 0 times this is 0."""
