"""Anytime curves: the best configuration so far against GPU×epochs and against seconds."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from optuna.trial import FrozenTrial

from hpo_gn.page.document import Figure, Section, figure
from hpo_gn.page.drawing import COLOURS
from hpo_gn.page.format import count, epochs, number
from hpo_gn.page.study import StudyRead

_SIZE = (7.4, 3.2)
_FEWEST = 4
_MARGIN = 0.08
_COLUMNS = {"val_loss": "validation loss", "val_accuracy": "validation accuracy"}
_NOTE = (
    "The line is the best so far, each point a trial when it ended; those worse than the median are beyond "
    "the frame. Only trials with the most epochs count, since one with fewer cannot be compared."
)


@dataclass(frozen=True)
class Moment:
    """A trial's end.

    Args:
        trial: that ended.
        epochs: GPU×epochs that all trials had cost by then.
        seconds: of all workers together; None if nobody recorded them.
        best: the best trial so far, this one included.
    """

    trial: FrozenTrial
    epochs: float
    seconds: float | None
    best: FrozenTrial


@dataclass(frozen=True)
class Curve:
    """What is drawn along an axis.

    Args:
        label: the axis's.
        each: of each trial, when it ended.
        best: of the best trial by then.
        upwards: whether more is better.
    """

    label: str
    each: Sequence[float]
    best: Sequence[float] = ()
    upwards: bool = False


def moments(read: StudyRead) -> list[Moment]:
    """The ends of the trials that a winner is chosen from, in order, with what all had cost by then."""
    costs = [read.cost(trial) for trial in read.finished]
    spent = accumulate(cost.epochs for cost in costs)
    known = all(cost.seconds is not None for cost in costs)
    took = accumulate(cost.seconds or 0.0 for cost in costs)
    candidates = {trial.number for trial in read.judged}
    found: list[Moment] = []
    for trial, epochs_by_then, seconds in zip(read.finished, spent, took, strict=True):
        if trial.number in candidates:
            before = found[-1].best if found else trial
            best = trial if read.value(trial) < read.value(before) else before
            found.append(Moment(trial, epochs_by_then, seconds if known else None, best))
    return found


def anytime(read: StudyRead) -> Section:
    """The section of anytime curves."""
    found = moments(read)
    if not found:
        return Section("Anytime performance", ("No trial has been completed yet.",))
    return Section("Anytime performance", _words(found, read), figures=tuple(_figures(found, read)))


def _words(found: Sequence[Moment], read: StudyRead) -> tuple[str, ...]:
    last = found[-1]
    first = next(moment for moment in found if moment.best.number == last.best.number)
    spent = sum(read.cost(trial).epochs for trial in read.trials)
    changes = len({moment.best.number for moment in found}) - 1
    before = (
        f"the best changed {count(changes, 'time')} on the way" if changes else "no other was best before it"
    )
    text = (
        f"The best configuration, trial {last.best.number} with {number(read.sign * read.value(last.best))}, "
        f"was found after {epochs(first.epochs)} of the {epochs(spent)} GPU×epochs spent; {before}."
    )
    unknown = "Nobody recorded how many seconds the trials took, so there is no curve against seconds."
    return (text,) if last.seconds is not None else (text, unknown)


def _figures(found: Sequence[Moment], read: StudyRead) -> Iterator[Figure]:
    spent = Curve("GPU×epochs spent", [moment.epochs for moment in found])
    values = [
        Curve("objective", *_each_and_best(found, lambda trial: read.sign * read.value(trial)), read.sign < 0)
    ]
    along = [spent]
    if found[-1].seconds is not None:
        took = [moment.seconds or 0.0 for moment in found]
        along.append(Curve("seconds of all workers together", took))
    yield figure(
        "The objective's best value so far", partial(_draw, along, values * len(along)), _NOTE, _SIZE
    )
    measured = [
        Curve(label, each, best, upwards=column == "val_accuracy")
        for column, label in _COLUMNS.items()
        for each, best in [_each_and_best(found, partial(read.last, column=column))]
        if all(map(math.isfinite, best))
    ]
    if measured:
        title = "Validation loss and accuracy of the best configuration so far, by the objective"
        yield figure(title, partial(_draw, [spent] * len(measured), measured), size=_SIZE)


def _each_and_best(
    found: Sequence[Moment], reading: Callable[[FrozenTrial], float]
) -> tuple[list[float], list[float]]:
    return [reading(moment.trial) for moment in found], [reading(moment.best) for moment in found]


def _draw(along: Sequence[Curve], upon: Sequence[Curve], drawing: Drawing) -> None:
    row = drawing.subplots(1, len(along), squeeze=False)[0]
    for axes, x, y in zip(row, along, upon, strict=True):
        axes.scatter(x.each, y.each, s=12, color=COLOURS[5], alpha=0.6, linewidths=0)
        axes.step(x.each, y.best, where="post", color=COLOURS[0], linewidth=2)
        axes.scatter(x.each[-1:], y.best[-1:], s=24, color=COLOURS[0], linewidths=0)
        axes.set(xlabel=x.label, ylabel=y.label)
        _frame(axes, y)


def _frame(axes: Axes, curve: Curve) -> None:
    """Show the better half of the trials: what diverged would leave the rest no room."""
    finite = [value for value in curve.each if math.isfinite(value)]
    if len(finite) < _FEWEST:
        return
    low, high = np.quantile(finite, (0.5, 1.0) if curve.upwards else (0.0, 0.5))
    if low < high:
        axes.set_ylim(low - _MARGIN * (high - low), high + _MARGIN * (high - low))
