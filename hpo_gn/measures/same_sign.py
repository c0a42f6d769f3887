"""p_same_sign: on how many samples a parameter's gradients agree in sign."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from hpo_gn.errors import NonFiniteError
from hpo_gn.measures.batch import Batch
from hpo_gn.measures.gradients import Gradient
from hpo_gn.measures.nonfinite import check_finite


@dataclass(frozen=True)
class SameSign:
    """Column `same_sign`: for each parameter the share of samples whose gradient has the more frequent sign,
    mean over all parameters ("Understanding why neural networks generalize well through GSNR…", section 3.1,
    p_same_sign).

    A gradient of 0 has neither sign. Raises NonFiniteError where a gradient is not finite.

    Args:
        samples: measure a random subset of that many samples; None for all.
        seed: of the draw, the same each time.
    """

    samples: int | None = None
    seed: int = 0
    split: Literal["train"] = field(default="train", init=False)
    _counts: dict[str, list[Tensor]] = field(default_factory=dict, init=False, repr=False, compare=False)
    _bad: list[str] = field(default_factory=list, init=False, repr=False, compare=False)
    _seen: list[int] = field(default_factory=list, init=False, repr=False, compare=False)

    def visit(self, gradient: Gradient) -> None:
        """Take in one parameter's gradients."""
        counts = [each.to(torch.int32) for each in (gradient.sign_sums(), gradient.nonzeros())]
        if not gradient.is_finite():
            self._bad.append(gradient.place.name)
        before = self._counts.setdefault(gradient.place.name, [torch.zeros_like(each) for each in counts])
        for total, each in zip(before, counts, strict=True):
            total += each

    def update(self, batch: Batch) -> None:
        """Take in one batch."""
        self._seen.append(len(batch))
        check_finite(batch)
        if self._bad:
            raise NonFiniteError(f"the gradient of {self._bad[0]!r} is not finite")

    def compute(self) -> Mapping[str, float]:
        """The column; starts anew."""
        counts, samples = list(self._counts.values()), sum(self._seen)
        self._counts.clear()
        self._bad.clear()
        self._seen.clear()
        # Positive and negative signs add up to the nonzero ones and differ by the sum of signs.
        majority = sum(int((nonzero + signs.abs()).sum()) for signs, nonzero in counts) / 2
        parameters = sum(signs.numel() for signs, _ in counts)
        return {"same_sign": majority / (samples * parameters) if parameters else math.nan}
