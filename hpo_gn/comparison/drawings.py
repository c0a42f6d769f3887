"""The drawings of a comparison's page."""

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from numpy.typing import NDArray

from hpo_gn.comparison.result import CellResult, Incumbent
from hpo_gn.comparison.summary import Against, Method, Summary, Task
from hpo_gn.page.document import Figure, figure
from hpo_gn.page.drawing import COLOURS, INK
from hpo_gn.statistics import Ranks

Floats = NDArray[np.float64]

_POINTS = 100
"""At which a curve is drawn."""
_RESAMPLES = 1000


def differences(baseline: str, against: Sequence[Against]) -> Figure:
    """Intervals of the differences from the baseline, one a row."""

    def draw(drawing: Drawing) -> None:
        axes = drawing.add_subplot()
        axes.axvline(0, color=INK, linewidth=1)
        for row, each in enumerate(reversed(against)):
            colour = {"helped": COLOURS[2], "hurt": COLOURS[3]}.get(each.difference.verdict, COLOURS[5])
            low, high = (100 * bound for bound in (each.difference.low, each.difference.high))
            axes.plot([low, high], [row, row], color=colour, linewidth=2)
            axes.plot(100 * each.difference.mean, row, "o", color=colour)
        axes.set_yticks(range(len(against)), [_label(each.method) for each in reversed(against)])
        axes.set_xlabel(f"points of test accuracy over {baseline}")
        axes.grid(axis="y", visible=False)

    note = "Green helped, red hurt; grey lines cross 0, or there are too few pairs for an interval."
    title = f"Difference from {baseline}, with its interval"
    return figure(title, draw, note, size=(7.4, 1.0 + 0.3 * len(against)))


def _label(method: Method) -> str:
    objective, searcher, pruner = method
    return f"{objective} · {searcher}" + ("" if pruner == "none" else f" · {pruner}")


def ranks_drawn(methods: Sequence[Method], ranks: Ranks) -> Figure:
    """Average ranks, with a bar over each group that is not told apart."""
    order = sorted(range(len(methods)), key=lambda index: float(ranks.average[index]))
    average = [float(ranks.average[index]) for index in order]

    def draw(drawing: Drawing) -> None:
        axes = drawing.add_subplot()
        axes.plot(average, range(len(order)), "o", color=COLOURS[0])
        for first, last in groups(average, ranks.critical_difference):
            axes.plot([average[first]] * 2, [first, last], color=COLOURS[5], linewidth=2, alpha=0.6)
        axes.set_yticks(range(len(order)), [_label(methods[index]) for index in order])
        axes.invert_yaxis()
        axes.set_xlabel("average rank")
        axes.grid(axis="y", visible=False)

    note = "From the upper end of a grey bar, the methods beside it are not told apart."
    return figure("Average ranks", draw, note, size=(7.4, 1.0 + 0.3 * len(order)))


def groups(average: Sequence[float], critical_difference: float) -> list[tuple[int, int]]:
    """The longest runs, as first and last index, of sorted average ranks that differ by less than the
    critical difference; none is within another.
    """
    found: list[tuple[int, int]] = []
    for first, best in enumerate(average):
        last = max(index for index, each in enumerate(average) if each - best < critical_difference)
        if last > first and (not found or last > found[-1][1]):
            found.append((first, last))
    return found


Axis = Literal["epochs", "seconds"]
_AXES: tuple[tuple[Axis, str], ...] = (
    ("epochs", "GPU×epochs spent"),
    ("seconds", "seconds of training and measuring"),
)


def anytime(summary: Summary) -> Iterator[Figure]:
    """For each task the incumbents' test accuracy, where it is known of all, and their validation loss,
    against GPU×epochs and against seconds.
    """
    for task in summary.tasks:
        results = [each for each in summary.results if each.labels.task == task and each.incumbents]
        tested = all(incumbent.test_accuracy for each in results for incumbent in each.incumbents)
        if not results:
            continue
        if tested:
            yield _curves(summary, task, "test accuracy of the incumbent, %", _test_accuracy)
        yield _curves(summary, task, "validation loss of the incumbent", lambda incumbent: incumbent.val_loss)


def _test_accuracy(incumbent: Incumbent) -> float:
    return 100 * float(np.mean(incumbent.test_accuracy))


def _curves(summary: Summary, task: Task, label: str, read: Callable[[Incumbent], float]) -> Figure:
    drawn = [method for method in summary.methods if summary.of(method, task)][: len(COLOURS)]

    def draw(drawing: Drawing) -> None:
        for axes, (kind, name) in zip(np.atleast_1d(drawing.subplots(1, 2, sharey=True)), _AXES, strict=True):
            for colour, method in zip(COLOURS, drawn, strict=False):
                found = [each for each in summary.of(method, task) if each.incumbents]
                _curve(axes, found, kind, read, colour, _label(method))
            axes.set_xlabel(name)
        drawing.axes[0].set_ylabel(label)
        handles, labels = drawing.axes[0].get_legend_handles_labels()
        drawing.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=8)

    model, data = task
    return figure(f"{model} on {data}: {label}", draw, size=(7.4, 3.4 + 0.12 * len(drawn)))


def _curve(
    axes: Axes,
    results: Sequence[CellResult],
    kind: Axis,
    read: Callable[[Incumbent], float],
    colour: str,
    label: str,
) -> None:
    if not results:
        return
    begins = max(getattr(each.incumbents[0], kind) for each in results)
    ends = max(_end(each, kind) for each in results)
    grid = np.linspace(begins, max(begins, ends), _POINTS)
    curves = np.array([_steps(each.incumbents, kind, read, grid) for each in results])
    axes.step(grid, curves.mean(axis=0), where="post", color=colour, label=label)
    if len(curves) > 1:
        low, high = band(curves)
        axes.fill_between(grid, low, high, step="post", color=colour, alpha=0.15, linewidth=0)


def _end(result: CellResult, kind: Axis) -> float:
    return result.spent if kind == "epochs" else result.training_s + result.measuring_s


def _steps(
    incumbents: Sequence[Incumbent], kind: Axis, read: Callable[[Incumbent], float], grid: Floats
) -> Floats:
    begun = [getattr(each, kind) for each in incumbents]
    values = np.array([read(each) for each in incumbents])
    return np.asarray(values[np.maximum(np.searchsorted(begun, grid, side="right") - 1, 0)])


def band(curves: Floats) -> tuple[Floats, Floats]:
    """The 95 % bootstrap interval of the mean curve, of curves [seeds, points]."""
    drawn = np.random.default_rng(0).integers(len(curves), size=(_RESAMPLES, len(curves)))
    # Resampling as a product with how often each curve was drawn: [resamples, seeds] @ [seeds, points].
    weights = np.stack([(drawn == seed).mean(axis=1) for seed in range(len(curves))], axis=1)
    low, high = np.quantile(weights @ curves, (0.025, 0.975), axis=0)
    return np.asarray(low), np.asarray(high)
