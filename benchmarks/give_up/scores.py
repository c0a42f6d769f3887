"""How well early scores foretell the final validation accuracy of recorded trainings."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from benchmarks.give_up.trainings import Run
from hpo_gn.history import History
from hpo_gn.measures.early_success import EarlySuccess, s_f, s_fv

CHECKPOINTS = (10, 20, 30)
SUCCESS = 0.65
"""Final validation accuracy above which the paper calls a training a success."""
RESAMPLES = 2000

Floats = NDArray[np.float64]
Score = Callable[[History], float]


def history(run: Run) -> History | None:
    """A run's history of validation accuracy and spectra; None if it did not stay finite."""
    columns = {
        name: values
        for name, values in run["rows"].items()
        if name == "val_accuracy" or name.startswith("spectrum:")
    }
    if any(value is None for values in columns.values() for value in values):
        return None
    widths = {f"spectrum_width:{number}": float(width) for number, width in enumerate(run["widths"][1:-1])}
    return History(
        dict(zip(columns, row, strict=True)) | widths for row in zip(*columns.values(), strict=True)
    )


@dataclass(frozen=True)
class Trained:
    """Runs that stayed finite.

    Args:
        histories: by checkpoint, what was known there of each.
        final: validation accuracy after the last epoch, [runs].
        diverged: how many runs did not stay finite.
    """

    histories: dict[int, list[History]]
    final: Floats
    diverged: int

    @classmethod
    def of(cls, runs: Sequence[Run], checkpoints: Sequence[int] = CHECKPOINTS) -> "Trained":
        """The runs' histories, cut at each checkpoint."""
        found = [known for run in runs if (known := history(run)) is not None]
        return cls(
            {epoch: [known.upto(epoch) for known in found] for epoch in checkpoints},
            np.array([known.last("val_accuracy") for known in found]),
            len(runs) - len(found),
        )

    def at(self, epoch: int, score: Score) -> Floats:
        """A score at a checkpoint, [runs]."""
        return np.array([score(known) for known in self.histories[epoch]])


def val_accuracy(known: History) -> float:
    """What the scores are compared with."""
    return known.last("val_accuracy")


def scores(parameters: EarlySuccess) -> dict[str, Score]:
    """The scores of the paper's tables."""
    return {
        "s_F": lambda known: s_f(known, parameters),
        "s_Fv": lambda known: s_fv(known, parameters),
        "accuracy": val_accuracy,
    }


def spearman(x: Floats, y: Floats) -> Floats:
    """Along the last dimension; NaN where one is constant."""
    first, second = (rankdata(values, axis=-1) for values in np.broadcast_arrays(x, y))
    first = first - first.mean(-1, keepdims=True)
    second = second - second.mean(-1, keepdims=True)
    norm = np.sqrt((first**2).sum(-1) * (second**2).sum(-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((first * second).sum(-1) / norm)


def separation(score: Floats, final: Floats) -> float:
    """The share of pairs of a success and a failure where the success has the higher score, ties counting
    half: the area under the ROC curve. NaN where there are no pairs.
    """
    succeeds = final > SUCCESS
    successes, failures = int(succeeds.sum()), int((~succeeds).sum())
    if not successes or not failures:
        return math.nan
    above = rankdata(score)[succeeds].sum() - successes * (successes + 1) / 2
    return float(above / (successes * failures))


@dataclass(frozen=True)
class Difference:
    """Spearman of a score less that of another, with the bootstrap's 95 % interval over runs."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, score: Floats, other: Floats, final: Floats) -> "Difference":
        """Both with the final accuracy, [runs] each."""
        drawn = np.random.default_rng(0).integers(len(final), size=(RESAMPLES, len(final)))
        found = spearman(score[drawn], final[drawn]) - spearman(other[drawn], final[drawn])
        low, high = np.nanpercentile(found, (2.5, 97.5))
        return cls(float(spearman(score, final) - spearman(other, final)), float(low), float(high))

    def __str__(self) -> str:
        return f"{self.value:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


@dataclass(frozen=True)
class Confusion:
    """Successes that were foretold and missed, failures taken for successes and foretold."""

    found: int
    missed: int
    false_alarms: int
    rejected: int

    @classmethod
    def of(cls, score: Floats, threshold: float, final: Floats) -> "Confusion":
        """A success is foretold by a score above the threshold."""
        says, succeeds = score > threshold, final > SUCCESS
        pairs = ((says, succeeds), (~says, succeeds), (says, ~succeeds), (~says, ~succeeds))
        return cls(*(int((first & second).sum()) for first, second in pairs))

    @property
    def balanced_accuracy(self) -> float:
        """The mean of the shares of successes and of failures that are right; 0 of none."""
        successes, failures = self.found + self.missed, self.false_alarms + self.rejected
        return (self.found / max(1, successes) + self.rejected / max(1, failures)) / 2

    def __str__(self) -> str:
        successes, failures = self.found + self.missed, self.false_alarms + self.rejected
        return f"{self.found} of {successes} found, {self.false_alarms} of {failures} false alarms"
