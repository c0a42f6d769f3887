"""Regret curves: a panel for each family of tables, searchers without fidelities above, those with below."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.searchers.intervals import interval, mean
from benchmarks.searchers.runs import Runs

MOMENTS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 18, 22, 27, 33, 40, 50, 60, 70, 85, 100)
"""Full evaluations spent."""

ROWS = (
    ("cma-es", "optuna cma-es", "optuna cma-es, ordinal", "particle-swarm", "tpe", "optuna tpe", "random"),
    ("bohb", "hpbandster bohb", "hyperband", "dehb", "smac3", "random"),
)
STYLES = {
    "random": ("0.5", "-"),
    "cma-es": ("tab:blue", "-"),
    "optuna cma-es": ("tab:cyan", "--"),
    "optuna cma-es, ordinal": ("tab:purple", "--"),
    "particle-swarm": ("tab:green", "-"),
    "tpe": ("tab:orange", "-"),
    "optuna tpe": ("tab:brown", "--"),
    "bohb": ("tab:red", "-"),
    "hpbandster bohb": ("tab:pink", "--"),
    "hyperband": ("tab:olive", "-"),
    "dehb": ("tab:green", "--"),
    "smac3": ("black", "--"),
}
"""Ours are drawn through, others' dashed."""


def draw(runs: Runs, path: Path) -> None:
    """Write the picture."""
    families = list(dict.fromkeys(table.partition("/")[0] for table in runs.tables))
    picture = Figure(figsize=(4.2 * len(families), 7.5), layout="constrained")
    grid = picture.subplots(len(ROWS), len(families), squeeze=False, sharex=True)
    for row, names in enumerate(ROWS):
        there = [name for name in names if name in runs.contestants]
        grid[row, 0].set_ylabel("regret; random search leaves 1")
        for column, family in enumerate(families):
            _panel(grid[row, column], runs, there, family)
        if lines := next((found for axes in grid[row] if (found := axes.get_lines())), None):
            grid[row, -1].legend(handles=lines, fontsize=7, loc="lower left")
    for axes in grid[-1]:
        axes.set_xlabel("full evaluations spent")
    picture.savefig(path, dpi=90)


def _panel(axes: Axes, runs: Runs, contestants: list[str], family: str) -> None:
    mine = [table for table in runs.tables if table.startswith(f"{family}/")]
    tables = runs.tables_of(contestants, among=mine)
    for name in contestants if tables else []:
        color, style = STYLES[name]
        regrets = [runs.regrets(name, tables, at) for at in MOMENTS]
        bounds = [interval(each, tables=False) for each in regrets]
        lows, highs = zip(*bounds, strict=True)
        axes.plot(MOMENTS, [mean(each) for each in regrets], style, color=color, label=name, linewidth=1.3)
        axes.fill_between(MOMENTS, lows, highs, color=color, alpha=0.13, linewidth=0)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_title(f"{family}: {len(tables)} tables", fontsize=10)
