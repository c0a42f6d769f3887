"""The picture: what each family saves, and what that costs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.give_up.fronts import ALL_OURS, ALL_RIVALS, Sweep, average, by_family, front, mean
from benchmarks.give_up.judged import TOP
from benchmarks.give_up.rivals import OURS


def draw(swept: Sweep, title: str, file: Path) -> None:
    """Savings against regret and against false kills, each family with its front."""
    figure = Figure(figsize=(14, 7), layout="constrained")
    left, right = figure.subplots(1, 2)
    families = [item for item in by_family(swept).items() if item[0] not in (ALL_RIVALS, ALL_OURS)]
    for (name, group), style in zip(families, _styles(), strict=False):
        for axes, judged in ((left, "loss_regret"), (right, "lost")):
            _draw_family(axes, group, judged, {"label": name, **style})
    left.set(xlabel="share of the epochs saved", ylabel="final validation loss of the chosen − pool's best")
    right.set(xlabel="share of the epochs saved", ylabel=f"share of the pool's {TOP} best given up")
    left.legend(fontsize="small")
    figure.suptitle(f"{title}. Lines: fronts; dashed: ours. Bars: 95 % over pools.")
    figure.savefig(file, dpi=90)


def _styles() -> Iterator[dict[str, Any]]:
    for index, marker in enumerate("osD^v<>pPhX*"):
        yield {"color": colormaps["tab20"](index % 20), "marker": marker}


def _draw_family(axes: Axes, group: Sweep, figure: str, style: dict[str, Any]) -> None:
    ours = style["label"].startswith(OURS)
    saved = {setting: average(judged, "saved") for setting, judged in group.items()}
    values = {setting: mean(getattr(each, figure) for each in judged) for setting, judged in group.items()}
    axes.scatter(
        list(saved.values()),
        [value.value for value in values.values()],
        s=14,
        alpha=0.4,
        color=style["color"],
        marker=style["marker"],
    )
    best = front(group, figure)
    axes.errorbar(
        [saved[setting] for setting in best],
        [values[setting].value for setting in best],
        yerr=[
            [values[setting].value - values[setting].low for setting in best],
            [values[setting].high - values[setting].value for setting in best],
        ],
        linestyle="--" if ours else "-",
        linewidth=1.6 if ours else 1,
        elinewidth=0.5,
        **style,
    )
