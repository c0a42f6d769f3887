"""OSGR: the one-step generalization ratio, from losses and from gradients."""

import math
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from hpo_gn.errors import ArgumentError
from hpo_gn.measures.batch import Batch, Loss, Split, cross_entropy
from hpo_gn.measures.gradients import Gradient
from hpo_gn.measures.measuring import measure
from hpo_gn.measures.moments import Moments, MomentSums
from hpo_gn.measures.nonfinite import check_finite
from hpo_gn.measures.samples import Batches


def osgr_from_losses(train: Tensor, test: Tensor) -> Tensor:
    """The left side of equation 17 at each step: Σ_m (L'_{t+1,m} − L'_{t,m}) / Σ_m (L_{t+1,m} − L_{t,m})
    ("Understanding why neural networks generalize well through GSNR…", equation 21).

    Args:
        train: L, mean training losses of the models trained on M training sets before the first step and
            after each of T, [M, T + 1].
        test: L', their mean losses on one test set, [M, T + 1].

    Returns:
        [T], float64; NaN or infinite where the training losses did not change.

    Raises:
        ArgumentError: the shapes differ, or there is no step.
    """
    if train.dim() != 2 or train.shape[1] < 2:
        raise ArgumentError("train", "losses [M, T + 1] with at least one step", list(train.shape))
    if test.shape != train.shape:
        raise ArgumentError("test", f"of train's shape {list(train.shape)}", list(test.shape))
    return test.double().diff().sum(dim=0) / train.double().diff().sum(dim=0)


def osgr_from_gradients(sets: Sequence[Moments]) -> float:
    """The right side of equation 17, 1 − Σ_q ρ_q² / (n Σ_q E[k_q²]), which equals equation 20.

    E[k_q²] and ρ_q² are means over M training sets (equation 22); one set is enough for an estimate.

    Args:
        sets: gradient moments of the models trained on M training sets of n samples each.

    Returns:
        At most 1; NaN where all gradients are 0.

    Raises:
        ArgumentError: no set, or sets of different sizes.
    """
    sizes = sorted({moments.samples for moments in sets})
    if len(sizes) != 1:
        raise ArgumentError("sets", "gradient moments of sets of one size", sizes)
    noise = sum(float(variance.sum()) for moments in sets for variance in moments.variance.values())
    power = sum(float(mean.square().sum()) for moments in sets for mean in moments.mean.values())
    return 1 - noise / (sizes[0] * power) if power else math.nan


def gradient_moments(
    model: nn.Module, data: Batches | tuple[Tensor, Tensor], *, loss: Loss = cross_entropy
) -> Moments:
    """k̂_q and ρ̂_q² of equation 22 for the model trained on one of the M training sets, in one pass over that
    set; the model is left as it was found.

    Args:
        model: gives logits [B, C] for inputs [B, …].
        data: the training set, as batches or as one pair (inputs [n, …], targets [n]).
        loss: the loss of each sample, (logits, targets) → [B].

    Returns:
        float64, for each parameter that requires gradients.

    Raises:
        DataError: the set is empty, or a batch is no batch.
        ModelError: no parameter requires gradients, or the loss is not one number a sample.
        NonFiniteError: a loss is not finite.
    """
    gathered = _Gathered()
    measure(model, data, [gathered], loss=loss)
    return gathered.moments


class _Gathered:
    """A measure without columns that keeps the moments instead."""

    split: Split = "train"
    moments: Moments

    def __init__(self) -> None:
        self._sums = MomentSums()

    def visit(self, gradient: Gradient) -> None:
        self._sums.add(gradient)

    def update(self, batch: Batch) -> None:
        self._sums.count(len(batch))
        check_finite(batch)

    def compute(self) -> Mapping[str, float]:
        self.moments = self._sums.take()
        return {}
