"""GN: the mean squared gradient norm of all parameters."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

from hpo_gn.measures.batch import Batch
from hpo_gn.measures.gradients import Gradient
from hpo_gn.measures.mean import Estimate


@dataclass(frozen=True)
class GN:
    """Column `gn` = (1/N) Σ_i ‖∇L(θ; x_i)‖² over the training split and all parameters that require gradients
    ("Can we use gradient norm…", section 1); with `samples` also `gn_standard_error`.

    The paper's GN is the sum of this over iterations, see `along_path`; once an epoch is what a History has.

    Args:
        samples: measure a random subset of that many samples, an unbiased estimate; None for all.
        seed: of the draw, the same each time.
    """

    samples: int | None = None
    seed: int = 0
    split: Literal["train"] = field(default="train", init=False)
    _norms: list[Tensor] = field(default_factory=list, init=False, repr=False, compare=False)
    _mean: Estimate = field(default_factory=Estimate, init=False, repr=False, compare=False)

    def visit(self, gradient: Gradient) -> None:
        """Take in one parameter's gradients."""
        norms = gradient.squared_norms()
        if not self._norms:
            self._norms.append(norms.new_zeros(gradient.place.batch))
        self._norms[0][gradient.place.samples] += norms

    def update(self, batch: Batch) -> None:
        """Take in one batch."""
        self._mean.add(self._norms.pop(), batch.population)

    def compute(self) -> Mapping[str, float]:
        """The columns; starts anew."""
        self._norms.clear()
        return self._mean.take("gn")
