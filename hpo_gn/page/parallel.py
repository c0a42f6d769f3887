"""Parallel coordinates: every configuration as a line across its hyperparameters."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure as Drawing
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial

from hpo_gn.page.document import Section, figure
from hpo_gn.page.drawing import COLOURS, GROUND, INK, SHADES
from hpo_gn.page.format import count, number
from hpo_gn.page.study import StudyRead

_Range = FloatDistribution | IntDistribution
_MOST = 1000
_FAINT = (COLOURS[5], 0.25)
_LONGEST = 14


def parallel(read: StudyRead) -> Section:
    """The section of parallel coordinates."""
    shown = [trial for trial in read.finished if trial.params][:_MOST]
    if not shown:
        return Section("Configurations", ("No trial has ended yet.",))
    ranks = _ranks(read, shown)
    failed = len(shown) - len(ranks)
    words = (
        f"{count(len(ranks), 'configuration')} that can be compared, coloured by the rank of the objective, "
        f"and {count(failed, 'other')}, faint: failed, given up, or trained for fewer epochs."
    )
    more = len(read.finished) - len(shown)
    left_out = (f"The first {_MOST} that ended are drawn, {more} are not.",) if more > 0 else ()
    distributions = {name: each for trial in shown for name, each in trial.distributions.items()}
    width = max(7.4, 1.15 * len(distributions) + 1)
    drawn = figure(
        "Configurations by hyperparameter",
        lambda drawing: _draw(drawing, shown, ranks, distributions),
        "One line a configuration; the best are drawn last. An axis is logarithmic where the search space "
        "is.",
        (width, 4.0),
    )
    return Section("Configurations", (words, *left_out), figures=(drawn,))


def _ranks(read: StudyRead, shown: Sequence[FrozenTrial]) -> dict[int, float]:
    """The rank of each trial that can be compared, by number, from 0 for the best to 1."""
    judged = {trial.number for trial in read.judged}
    there = sorted(
        (trial for trial in shown if trial.number in judged and math.isfinite(read.value(trial))),
        key=read.value,
    )
    return {trial.number: place / max(1, len(there) - 1) for place, trial in enumerate(there)}


def _draw(
    drawing: Drawing,
    shown: Sequence[FrozenTrial],
    ranks: Mapping[int, float],
    distributions: Mapping[str, BaseDistribution],
) -> None:
    axes = drawing.subplots()
    order = sorted(shown, key=lambda trial: -ranks.get(trial.number, 2.0))
    lines = [
        [(x, _height(trial.params.get(name), each)) for x, (name, each) in enumerate(distributions.items())]
        for trial in order
    ]
    colours = [SHADES(ranks[trial.number]) if trial.number in ranks else _FAINT for trial in order]
    widths = [1.6 if ranks.get(trial.number, 1.0) < 0.1 else 0.9 for trial in order]
    axes.add_collection(LineCollection(_pieces(lines), colors=colours, linewidths=widths))
    if len(distributions) == 1:
        axes.scatter([0.0] * len(lines), [line[0][1] for line in lines], c=colours, s=14)
    for x, (name, each) in enumerate(distributions.items()):
        _axis(axes, x, name, each)
    axes.set(xlim=(-0.35, len(distributions) - 1 + 0.55), ylim=(-0.14, 1.1))
    axes.axis("off")
    _legend(axes, failed=len(ranks) < len(shown))


def _pieces(lines: Sequence[Sequence[tuple[float, float]]]) -> list[np.ndarray]:
    """Lines as matplotlib takes them; one without a hyperparameter has a gap there."""
    return [np.array(line) for line in lines]


def _height(value: Any, distribution: BaseDistribution) -> float:
    """Where a value is on its axis, from 0 to 1; NaN where the configuration has none."""
    if isinstance(distribution, CategoricalDistribution):
        if value not in distribution.choices:
            return math.nan
        return distribution.choices.index(value) / max(1, len(distribution.choices) - 1)
    if value is None or not isinstance(distribution, _Range):
        return math.nan
    low, high = (_scale(limit, distribution) for limit in (distribution.low, distribution.high))
    return (_scale(value, distribution) - low) / (high - low) if high > low else 0.5


def _scale(value: float, distribution: _Range) -> float:
    return math.log(value) if distribution.log else float(value)


def _axis(axes: Axes, x: int, name: str, distribution: BaseDistribution) -> None:
    halo = [withStroke(linewidth=3, foreground=GROUND)]
    axes.plot((x, x), (0, 1), color=INK, linewidth=1)
    for height, label in _ticks(distribution):
        axes.plot((x, x + 0.03), (height, height), color=INK, linewidth=1)
        axes.text(x + 0.06, height, label, fontsize=8, va="center", color=INK, path_effects=halo)
    title = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
    axes.text(x, 1.06, title, ha="center", va="bottom", fontsize=9.5, fontweight="bold", color=INK)
    if getattr(distribution, "log", False):
        axes.text(x, -0.05, "log", ha="center", va="top", fontsize=8, color=INK)


def _ticks(distribution: BaseDistribution) -> list[tuple[float, str]]:
    if isinstance(distribution, CategoricalDistribution):
        choices = distribution.choices
        return [(_height(each, distribution), str(each)[:_LONGEST]) for each in choices[:12]]
    if not isinstance(distribution, _Range):
        return []
    low, high = (_scale(limit, distribution) for limit in (distribution.low, distribution.high))
    at = [low + part * (high - low) for part in (0, 0.25, 0.5, 0.75, 1)]
    shown: list[float] = [math.exp(value) if distribution.log else value for value in at]
    if isinstance(distribution, IntDistribution):
        shown = [round(value) for value in shown]
    ticks = [(_height(value, distribution), number(value, 2)) for value in shown]
    return [ticks[0], *(after for before, after in pairwise(ticks) if after[0] - before[0] > 0.05)]


def _legend(axes: Axes, *, failed: bool) -> None:
    shades = {"best": SHADES(0.0), "middle": SHADES(0.5), "worst": SHADES(1.0)}
    handles = [Line2D([], [], color=colour, linewidth=2, label=label) for label, colour in shades.items()]
    if failed:
        handles.append(Line2D([], [], color=_FAINT[0], alpha=0.5, linewidth=1, label="not comparable"))
    axes.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, 0.0), ncols=len(handles))
