"""GSNR: the gradient signal-to-noise ratio of the parameters."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from hpo_gn.errors import NonFiniteError
from hpo_gn.measures.batch import Batch
from hpo_gn.measures.gradients import Gradient
from hpo_gn.measures.moments import MomentSums
from hpo_gn.measures.nonfinite import check_finite
from hpo_gn.measures.osgr import osgr_from_gradients


@dataclass(frozen=True)
class GSNR:
    """Columns `gsnr`, the mean over parameters of r_q = μ_q² / ρ_q² ("Understanding why neural networks
    generalize well through GSNR…", equations 1 and 23), `gsnr_left_out`, the number of parameters whose ρ_q²
    is 0, which do not count in the mean, and `osgr`, the right side of equation 17 for this one training set.

    NaN where no parameter counts. Raises NonFiniteError where a gradient is not finite.

    Args:
        per_layer: also a column `gsnr:<layer>` for each layer, the mean over its parameters.
        samples: measure a random subset of that many samples; None for all.
        seed: of the draw, the same each time.
    """

    per_layer: bool = False
    samples: int | None = None
    seed: int = 0
    split: Literal["train"] = field(default="train", init=False)
    _sums: MomentSums = field(default_factory=MomentSums, init=False, repr=False, compare=False)

    def visit(self, gradient: Gradient) -> None:
        """Take in one parameter's gradients."""
        self._sums.add(gradient)

    def update(self, batch: Batch) -> None:
        """Take in one batch."""
        self._sums.count(len(batch))
        check_finite(batch)

    def compute(self) -> Mapping[str, float]:
        """The columns; starts anew."""
        moments = self._sums.take()
        for name, mean in moments.mean.items():
            if not bool(mean.isfinite().all()):
                raise NonFiniteError(f"the gradient of {name!r} is not finite")
        ratios = {name: _ratios(mean, moments.variance[name]) for name, mean in moments.mean.items()}
        counted = torch.cat(list(ratios.values())) if ratios else torch.empty(0)
        columns = {
            "gsnr": counted.mean().item(),
            "gsnr_left_out": float(sum(mean.numel() for mean in moments.mean.values()) - len(counted)),
            "osgr": osgr_from_gradients([moments]),
        }
        if self.per_layer:
            columns |= _by_layer(ratios)
        return columns


def _ratios(mean: Tensor, variance: Tensor) -> Tensor:
    """r_q of the elements whose variance is not 0, [Q]."""
    counts = variance > 0
    return mean[counts].square() / variance[counts]


def _by_layer(ratios: Mapping[str, Tensor]) -> dict[str, float]:
    layers: dict[str, list[Tensor]] = defaultdict(list)
    for name, values in ratios.items():
        layers[name.rpartition(".")[0]].append(values)
    return {f"gsnr:{layer}": torch.cat(values).mean().item() for layer, values in layers.items()}
