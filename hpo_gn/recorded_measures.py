"""What is measured of a training after each epoch: what is asked for, and what is recorded for later."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from hpo_gn.data import Splits
from hpo_gn.errors import ModelError, NonFiniteError
from hpo_gn.measures import (
    AGN,
    Accuracy,
    DeadUnits,
    Majority,
    MeanLoss,
    Measure,
    OnlineAGN,
    PredictionEntropy,
    Spectrum,
    cross_entropy,
    measure,
)
from hpo_gn.objectives import Objective
from hpo_gn.training import Training


@dataclass(frozen=True)
class RecordedSpectrum(Spectrum):
    """A spectrum whose columns are NaN where the activations are not finite: what is recorded for later must
    not end a trial, or take its other columns away.
    """

    def compute(self) -> Mapping[str, float]:
        """The columns; starts anew."""
        layers = list(self._grams)
        try:
            return super().compute()
        except NonFiniteError:
            columns = [f"{column}:{name}" for name in layers for column in ("spectrum", "spectrum_width")]
            return dict.fromkeys(columns, math.nan)


Recorded = MeanLoss | Accuracy | PredictionEntropy | Majority | AGN | DeadUnits | Spectrum

RECORDED: tuple[Recorded, ...] = (
    MeanLoss("train"),
    Accuracy("train"),
    PredictionEntropy("train"),
    Majority("train"),
    AGN(),
    MeanLoss("validation"),
    Accuracy("validation"),
    DeadUnits(),
    RecordedSpectrum(),
)
"""What every trial records, whatever its objective needs, so that any objective can be computed again later;
of them `_OF_LAYERS` only where the model has the layers that they read.
"""
_OF_LAYERS = (AGN, DeadUnits, Spectrum)


def measures_of(
    objective: Objective, signals: Iterable[Measure], training: Training, splits: Splits
) -> list[Measure]:
    """The objective's measures, the signals and those always recorded; the signals, and those recorded ones
    that are read off certain layers, only from a model that has them.

    An objective that estimates AGN is there to save the pass over the training split, so what is recorded of
    that split is estimated from the same samples.

    Args:
        objective: the search's.
        signals: what its pruner looks at.
        training: whose model is measured.
        splits: of the data.
    """
    wanted = [*objective.measures, *(each for each in signals if _can_read(each, training, splits))]
    samples = getattr(objective, "samples", None)
    return wanted + [
        _of_samples(each, samples)
        for each in RECORDED
        if not _is_among(each, wanted)
        and (not isinstance(each, _OF_LAYERS) or _can_read(each, training, splits))
    ]


def _of_samples(recorded: Recorded, samples: int | None) -> Measure:
    """A recorded measure of the training split, of so many samples of it; any other as it is."""
    if isinstance(recorded, DeadUnits | Spectrum) or recorded.split != "train":
        return recorded
    return replace(recorded, samples=samples)


def _is_among(recorded: Recorded, wanted: Sequence[Measure]) -> bool:
    """Whether measures have one of the kind of a recorded one, whose columns it would write again."""
    kinds: type | tuple[type, ...] = type(recorded)
    if isinstance(recorded, AGN | Spectrum):
        kinds = (AGN, OnlineAGN) if isinstance(recorded, AGN) else Spectrum
    return any(isinstance(each, kinds) and each.split == recorded.split for each in wanted)


def _can_read(measured: Measure, training: Training, splits: Splits) -> bool:
    """Whether a measure can be read off the training's model."""
    loss = getattr(training, "loss", cross_entropy)
    try:
        measure(training.model, {measured.split: [splits.train.batch(slice(2))]}, [measured], loss=loss)
    except ModelError:
        return False
    return True
