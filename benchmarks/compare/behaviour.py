"""The AGN paper's Fig. 4: how training and held-out loss go, epoch by epoch, with the default settings and
with those that each objective chooses.

The paper's networks are ResNet-20 of 160 epochs on Fashion-MNIST; its default's generalization gap grows
while its training loss goes to 0 (test loss about 0.325), and the settings found by CMA-ES with AGN+Train end
with a gap of 0.259, 20.3 % less. Scaled to two cores: LeNet-5, 8 epochs on a fifth of the training set, the
validation loss for the test loss, and the settings that each objective chooses among the recorded table's
runs. Nothing is trained: the runs' Histories are drawn.

    python -m benchmarks.compare.behaviour
"""

import argparse
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks.compare.signals import test_accuracy
from benchmarks.compare.table import TABLE
from benchmarks.machine import machine
from benchmarks.tables import aligned
from hpo_gn import make_objective
from hpo_gn.judging import values_of
from hpo_gn.recorded import RecordedRun, RecordedTable, read_table

FOLDER = Path(__file__).parents[1] / "results" / "compare"
OBJECTIVES: dict[str, tuple[str, dict[str, Any]]] = {
    "val-loss": ("val-loss", {}),
    "agn-train, α = 1e-4": ("agn-train", {"alpha": 1e-4}),
    "agn-val, α = 1e-3": ("agn-val", {"alpha": 1e-3}),
    "rank-sum": ("rank-sum", {}),
    "pareto": ("pareto", {}),
}


def chosen(table: RecordedTable) -> dict[str, RecordedRun]:
    """The run of the default settings, and those that each objective chooses; of objectives that choose the
    same run, the names stand together.
    """
    runs = [run for run in table.runs if run.completed]
    found = {runs[0].number: ["default"]}
    for name, (objective, given) in OBJECTIVES.items():
        values = values_of(make_objective(objective, **given), [run.history for run in runs])
        best = runs[min(range(len(runs)), key=values.__getitem__)].number
        found.setdefault(best, []).append(name)
    by_number = {run.number: run for run in runs}
    return {"; ".join(names): by_number[number] for number, names in found.items()}


def table_of(picks: dict[str, RecordedRun]) -> str:
    """The last epoch of each run."""
    rows = [("chosen by", "training loss", "validation loss", "gap", "AGN", "test accuracy, %", "settings")]
    for name, run in picks.items():
        row = run.history.rows[-1]
        rows.append(
            (
                name,
                f"{row['train_loss']:.4f}",
                f"{row['val_loss']:.4f}",
                f"{row['val_loss'] - row['train_loss']:+.4f}",
                f"{sum(run.history.column('agn')):.0f}",
                f"{100 * test_accuracy(run):.2f}" if run.test_accuracy else "not tested",
                ", ".join(f"{name} {value:.4g}" for name, value in run.params.items()),
            )
        )
    return "\n".join(aligned(rows))


def draw(picks: dict[str, RecordedRun], file: Path) -> None:
    """A panel a run, on one scale."""
    figure = Figure(figsize=(3.2 * len(picks), 3.4), layout="constrained")
    for axes, (name, run) in zip(figure.subplots(1, len(picks), sharey=True), picks.items(), strict=True):
        epochs = range(1, len(run.history) + 1)
        for column, label in (("train_loss", "training"), ("val_loss", "validation")):
            axes.plot(epochs, run.history.column(column), label=label)
        axes.set_title(name.replace("; ", ";\n"), fontsize=9)
        axes.set_xlabel("epoch")
    figure.axes[0].set_ylabel("mean loss")
    figure.axes[0].legend()
    figure.savefig(file, dpi=110)


def main() -> None:
    """Write the table and the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--output", type=Path, default=FOLDER)
    options = parser.parse_args()
    picks = chosen(read_table(options.table))
    header = f"command   python -m benchmarks.compare.behaviour\n{machine()}"
    (options.output / "behaviour.txt").write_text(f"{header}\n\n{table_of(picks)}\n")
    draw(picks, options.output / "behaviour.png")


if __name__ == "__main__":
    main()
