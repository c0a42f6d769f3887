"""How every measure goes with the generalization gap, for well-fitted and under-fitted models apart."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from numpy.typing import NDArray
from optuna.trial import FrozenTrial
from scipy.stats import rankdata

from hpo_gn.errors import HpoGnError
from hpo_gn.history import History
from hpo_gn.measures.early_success import DEFAULTS, expected_accuracy, s_f
from hpo_gn.page.document import Figure, Section, Table, figure
from hpo_gn.page.drawing import COLOURS
from hpo_gn.page.format import count, share
from hpo_gn.page.study import StudyRead

WELL_FITTED = 0.88
"""Training accuracy from which the paper calls a model well fitted."""
FEWEST = 8
"""With fewer trials a rank correlation says nothing."""
RESAMPLES = 2000

_TITLE = "Measures and the generalization gap"
_NOTE = (
    "Spearman's rank correlation with validation loss − training loss, both at the last epoch; in brackets "
    f"its 95 % bootstrap interval ({RESAMPLES} resamples of trials), not corrected for the number of "
    f"measures; n is the number of trials. Fewer than {FEWEST} trials are too few to tell. Training and "
    "validation loss are part of the gap, so theirs is no discovery."
)
Floats = NDArray[np.float64]
_GROUPS = (("well-fitted", True), ("under-fitted", False))


@dataclass(frozen=True)
class Rank:
    """Spearman's correlation of n trials with its bootstrap interval; NaN where it cannot be told."""

    n: int
    value: float = math.nan
    low: float = math.nan
    high: float = math.nan

    def __str__(self) -> str:
        if math.isnan(self.value):
            return f"{'too few' if self.n < FEWEST else 'all the same'} (n\u00a0=\u00a0{self.n})"
        return f"{self.value:+.2f} [{self.low:+.2f}, {self.high:+.2f}], n\u00a0=\u00a0{self.n}"


def rank_correlation(x: Sequence[float], y: Sequence[float], resamples: int = RESAMPLES) -> Rank:
    """Spearman's correlation of the pairs in which both are finite, and its 95 % interval by the percentile
    bootstrap, always with the same resamples.
    """
    pairs = np.array([pair for pair in zip(x, y, strict=True) if all(map(math.isfinite, pair))]).reshape(
        -1, 2
    )
    n = len(pairs)
    if n < FEWEST:
        return Rank(n)
    value = _spearman(pairs[None, :, 0], pairs[None, :, 1])[0]
    if math.isnan(value):
        return Rank(n)
    drawn = np.random.default_rng(0).integers(n, size=(resamples, n))
    again = _spearman(pairs[drawn, 0], pairs[drawn, 1])
    low, high = np.quantile(again[np.isfinite(again)], (0.025, 0.975))
    return Rank(n, float(value), float(low), float(high))


def _spearman(x: Floats, y: Floats) -> Floats:
    """Of each row, ties sharing their mean rank; NaN where one of the two is the same throughout."""
    centred = [rankdata(each, axis=1) - (x.shape[1] + 1) / 2 for each in (x, y)]
    scale = np.sqrt((centred[0] ** 2).sum(1) * (centred[1] ** 2).sum(1))
    products = (centred[0] * centred[1]).sum(1)
    found: Floats = np.divide(products, scale, out=np.full(len(x), math.nan), where=scale > 0)
    return found


def correlations(read: StudyRead) -> Section:
    """The section of correlations."""
    trials = [trial for trial in read.judged if math.isfinite(gap(read, trial))]
    if not trials:
        return Section(_TITLE, ("No completed trial has both a training and a validation loss.",))
    groups = {name: [trial for trial in trials if _fitted(read, trial) is fitted] for name, fitted in _GROUPS}
    words = (
        f"Of {count(len(trials), 'trial')}, {len(groups['well-fitted'])} are well fitted (training accuracy "
        f"at least {share(WELL_FITTED)}, as in the AGN paper) and {len(groups['under-fitted'])} are not. The "
        "paper finds that AGN goes with the gap among the first and against it among the second (its Fig. "
        "3)."
    )
    shown = {"all": trials, **groups}
    rows = [
        (name, *(str(rank_correlation(*_pairs(read, some, measure))) for some in shown.values()))
        for name, measure in measures(read, trials).items()
    ]
    table = Table("Spearman's correlation with the generalization gap", ("measure", *shown), rows, _NOTE)
    return Section(_TITLE, (words,), (table,), tuple(_scatter(read, groups)))


def gap(read: StudyRead, trial: FrozenTrial) -> float:
    """The validation loss minus the training loss at the last epoch."""
    return read.last(trial, "val_loss") - read.last(trial, "train_loss")


def _fitted(read: StudyRead, trial: FrozenTrial) -> bool:
    return read.last(trial, "train_accuracy") >= WELL_FITTED


Reading = Callable[[FrozenTrial], float]


def measures(read: StudyRead, trials: Sequence[FrozenTrial]) -> dict[str, Reading]:
    """What is read off a trial, by name: AGN, each recorded column at the last epoch, and the scores of
    spectra where those were recorded.
    """
    columns = sorted({name for trial in trials for name in read.histories[trial.number].rows[-1]})
    found: dict[str, Reading] = {}
    if {"agn", "agn_online"} & set(columns):
        found["AGN, summed over the epochs"] = read.agn
        found["AGN / epochs"] = lambda trial: read.agn(trial) / max(1, len(read.histories[trial.number]))
    for column in columns:
        if not column.startswith(("spectrum:", "spectrum_width:")):
            found[f"{column}, last epoch"] = _at_end(read, column)
    if any(column.startswith("spectrum:") for column in columns):
        found |= {"s_F": _score(read, _success), "s_Fv": _score(read, expected_accuracy)}
    return found


def _at_end(read: StudyRead, column: str) -> Reading:
    return lambda trial: read.last(trial, column)


def _success(history: History) -> float:
    return s_f(history, DEFAULTS.within(history))


def _score(read: StudyRead, score: Callable[..., float]) -> Reading:
    def of(trial: FrozenTrial) -> float:
        try:
            return score(read.histories[trial.number])
        except HpoGnError:  # a history too short, or a diverged one
            return math.nan

    return of


def _pairs(
    read: StudyRead, trials: Sequence[FrozenTrial], measure: Reading
) -> tuple[list[float], list[float]]:
    return [measure(trial) for trial in trials], [gap(read, trial) for trial in trials]


def _scatter(read: StudyRead, groups: Mapping[str, Sequence[FrozenTrial]]) -> list[Figure]:
    if not any(math.isfinite(read.agn(trial)) for some in groups.values() for trial in some):
        return []

    def draw(drawing: Drawing) -> None:
        for axes, (name, some) in zip(drawing.subplots(1, 2), groups.items(), strict=True):
            _points(axes, *_pairs(read, some, read.agn), filled=name == "well-fitted")
            axes.set_title(f"{name}, n = {len(some)}")
        drawing.axes[0].set_ylabel("validation loss − training loss")

    note = "As Fig. 3 of the AGN paper. Filled: well fitted. Hollow: not. The two scales of the gap differ."
    return [figure("AGN against the generalization gap", draw, note, (7.4, 3.4))]


def _points(axes: Axes, agn: Sequence[float], gaps: Sequence[float], *, filled: bool) -> None:
    colour = COLOURS[0] if filled else COLOURS[1]
    axes.scatter(agn, gaps, s=26, facecolors=colour if filled else "none", edgecolors=colour, alpha=0.85)
    if any(value > 0 for value in agn):
        axes.set_xscale("log")
    axes.set_xlabel("AGN, summed over the epochs")
