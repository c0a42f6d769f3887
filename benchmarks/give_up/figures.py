"""Tables and pictures of the early-success scores, for each of the paper's experiments."""

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.give_up.scores import (
    CHECKPOINTS,
    SUCCESS,
    Confusion,
    Difference,
    Score,
    Trained,
    scores,
    separation,
    spearman,
    val_accuracy,
)
from benchmarks.give_up.trainings import Run
from benchmarks.tables import aligned
from hpo_gn.measures.early_success import DEFAULTS, NORMALIZED, EarlySuccess, expected_accuracy, s_o, s_s

EARLY = (2, 3, 5, 7, 10)
"""Epochs of the signals' table."""

Variants = Mapping[str, EarlySuccess]
"""Parameters by what they are called."""


def counts(name: str, runs: Sequence[Run], trained: Trained) -> str:
    """How the trainings ended, in a line."""
    accuracies = np.sort(trained.final)
    successes = int((accuracies > SUCCESS).sum())
    quartiles = " ".join(f"{value:.3f}" for value in np.percentile(accuracies, (0, 25, 50, 75, 100)))
    fitted = np.median([run["rows"]["train_accuracy"][-1] for run in runs])
    return (
        f"{name}: n = {len(runs)}, {trained.diverged} diverged, {successes} above {SUCCESS:.0%}; final "
        f"validation accuracy, quartiles {quartiles}; median training accuracy {fitted:.3f}"
    )


def correlations(trained: Trained, variants: Variants, paper: Sequence[Sequence[float]]) -> Iterator[str]:
    """Spearman with the final accuracy at the checkpoints, and what s_Fv's has over the accuracy's."""
    rows = [["parameters", "epoch", "s_F", "s_Fv", "accuracy", "s_Fv − accuracy [95 %]"]]
    for epoch, figures in zip(CHECKPOINTS, paper, strict=True):
        rows.append(
            [
                "the paper's figures",
                str(epoch),
                *(f"{each:.3f}" for each in figures),
                f"{figures[1] - figures[2]:+.3f}",
            ]
        )
    for name, parameters in variants.items():
        for epoch in CHECKPOINTS:
            values = [trained.at(epoch, score) for score in scores(parameters).values()]
            own = [f"{float(spearman(each, trained.final)):.3f}" for each in values]
            rows.append([name, str(epoch), *own, str(Difference.of(values[1], values[2], trained.final))])
    yield from aligned(rows)


def confusions(trained: Trained, variants: Variants, epoch: int = CHECKPOINTS[0]) -> Iterator[str]:
    """Who is foretold a success at a checkpoint: s_F above t1, s_Fv and accuracy above the success itself.
    Beside it, whatever the threshold, how often a success scores above a failure.
    """
    rows = [["parameters", "prediction", f"at epoch {epoch}", "AUC"]]
    predictions = [("", "accuracy", val_accuracy, SUCCESS)]
    for name, parameters in variants.items():
        each = scores(parameters)
        predictions += [(name, "s_F", each["s_F"], parameters.t1), (name, "s_Fv", each["s_Fv"], SUCCESS)]
    for name, key, score, threshold in predictions:
        values = trained.at(epoch, score)
        found = Confusion.of(values, threshold, trained.final)
        area = f"{separation(values, trained.final):.3f}"
        rows.append([name, f"{key} > {threshold:.4g}", str(found), area])
    yield from aligned(rows)


def signals(runs: Sequence[Run]) -> Iterator[str]:
    """What the scores are made of, in epochs before the paper's checkpoints too: Spearman and AUC of each.

    A window that is longer than the history is shortened to it.
    """
    trained = Trained.of(runs, EARLY)
    parts: dict[str, Score] = {
        "accuracy": val_accuracy,
        "s_Fv": expected_accuracy,
        "s_o": lambda known: s_o(known, DEFAULTS.within(known)),
        "s_s": lambda known: s_s(known, DEFAULTS.within(known)),
        "s_o, normalized": lambda known: s_o(known, NORMALIZED.within(known)),
        "s_s, normalized": lambda known: s_s(known, NORMALIZED.within(known)),
    }
    rows = [["Spearman, AUC", *(f"epoch {epoch}" for epoch in EARLY)]]
    for name, score in parts.items():
        values = [trained.at(epoch, score) for epoch in EARLY]
        cells = [
            f"{float(spearman(each, trained.final)):+.3f}, {separation(each, trained.final):.3f}"
            for each in values
        ]
        rows.append([name, *cells])
    yield from aligned(rows)


def describe(parameters: EarlySuccess) -> str:
    """Without what is not in the equations."""
    names = ("t0", "t1", "t2", "delta", "eta", "gamma")
    return ", ".join(f"{name} {getattr(parameters, name):.4g}" for name in names)


def draw(experiments: Mapping[str, tuple[Sequence[Run], Trained]], variants: Variants, file: Path) -> None:
    """The final accuracy over the factor, and over accuracy and s_Fv at the first checkpoint."""
    columns = 2 + len(variants)
    figure = Figure(figsize=(4 * columns, 3.8 * len(experiments)), layout="constrained")
    grid = figure.subplots(len(experiments), columns, squeeze=False, sharey=True)
    epoch = CHECKPOINTS[0]
    for (name, (runs, trained)), axes in zip(experiments.items(), grid, strict=True):
        axes[0].scatter([run["factor"] for run in runs], [_final(run) for run in runs], s=14, color="0.4")
        axes[0].set(xlabel="factor on Xavier's deviation", ylabel="final validation accuracy")
        axes[0].set_title(f"{name}, n = {len(runs)}")
        _scatter(axes[1], trained, epoch, val_accuracy, f"validation accuracy at epoch {epoch}")
        for panel, (label, parameters) in zip(axes[2:], variants.items(), strict=True):
            _scatter(panel, trained, epoch, scores(parameters)["s_Fv"], f"s_Fv at epoch {epoch}, {label}")
    figure.savefig(file, dpi=90)


def _final(run: Run) -> float:
    value = run["rows"]["val_accuracy"][-1]
    return math.nan if value is None else value


def _scatter(axes: Axes, trained: Trained, epoch: int, score: Score, label: str) -> None:
    values = trained.at(epoch, score)
    axes.scatter(values, trained.final, s=14)
    axes.axline((SUCCESS, SUCCESS), slope=1, color="0.7", linewidth=0.8)
    axes.axhline(SUCCESS, color="C3", linewidth=0.8)
    axes.set(xlabel=label, title=f"Spearman {float(spearman(values, trained.final)):+.3f}")
