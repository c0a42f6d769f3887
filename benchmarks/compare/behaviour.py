"""The AGN paper's Fig. 4: how training and test loss go, epoch by epoch, with the default settings and with
those that each objective chooses.

The paper's networks are ResNet-20 of 160 epochs on Fashion-MNIST; its default's generalization gap grows
while its training loss goes to 0 (test loss about 0.325), and the settings found by CMA-ES with AGN+Train end
with a gap of 0.259, 20.3 % less. Scaled to two cores: LeNet-5, 24 epochs, the full training set, one seed,
and the settings that each objective chooses among the recorded table's configurations.

A stopped benchmark continues: each finished training is a line of OUTPUT/behaviour.jsonl.

    python -m benchmarks.compare.behaviour
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure

from benchmarks.compare.table import TABLE
from benchmarks.machine import machine
from benchmarks.tables import aligned
from hpo_gn import Experiment, make_objective
from hpo_gn.allocator import keep_freed_memory
from hpo_gn.judging import values_of
from hpo_gn.measures import Accuracy, MeanLoss, measure
from hpo_gn.recorded import RecordedTable, read_table
from hpo_gn.retraining import retraining_seed
from hpo_gn.space import paper_space

FOLDER = Path(__file__).parents[1] / "results" / "compare"
EPOCHS = 24
OBJECTIVES: dict[str, tuple[str, dict[str, Any]]] = {
    "val-loss": ("val-loss", {}),
    "agn-train, α = 1e-4": ("agn-train", {"alpha": 1e-4}),
    "agn-val, α = 1e-3": ("agn-val", {"alpha": 1e-3}),
    "rank-sum": ("rank-sum", {}),
}


def settings(table: RecordedTable) -> dict[str, dict[str, Any]]:
    """The default settings, and those that each objective chooses in a table; of equal ones the first name
    with the others behind it.
    """
    runs = [run for run in table.runs if run.completed]
    chosen = {"default": dict(runs[0].params)}
    for name, (objective, given) in OBJECTIVES.items():
        values = values_of(make_objective(objective, **given), [run.history for run in runs])
        chosen[name] = dict(runs[min(range(len(runs)), key=values.__getitem__)].params)
    merged: dict[str, dict[str, Any]] = {}
    for name, params in chosen.items():
        same = next((known for known, others in merged.items() if others == params), None)
        if same is not None:
            merged[f"{same}; {name}"] = merged.pop(same)
        else:
            merged[name] = params
    return merged


def follow(experiment: Experiment, params: Mapping[str, Any]) -> list[dict[str, float]]:
    """Training and test loss and accuracy after each epoch on the full training set."""
    splits = experiment.splits("full", torch.device("cpu"))
    training = experiment.build(params, splits, epochs=EPOCHS, seed=retraining_seed(experiment, 0))
    measures = [kind(split) for split in ("train", "test") for kind in (MeanLoss, Accuracy)]
    rows = []
    for _ in range(EPOCHS):
        training.run_epoch()
        row = measure(training.model, {"train": splits.train, "test": splits.test}, measures)
        rows.append({name: float(f"{value:.6g}") for name, value in row.items()})
    return rows


def table_of(lines: list[dict[str, Any]]) -> str:
    """The last epoch of each setting."""
    rows = [("chosen by", "training loss", "test loss", "gap", "test accuracy, %", "settings")]
    for each in lines:
        last = each["rows"][-1]
        rows.append(
            (
                each["name"],
                f"{last['train_loss']:.4f}",
                f"{last['test_loss']:.4f}",
                f"{last['test_loss'] - last['train_loss']:+.4f}",
                f"{100 * last['test_accuracy']:.2f}",
                ", ".join(f"{name} {value:.4g}" for name, value in each["params"].items()),
            )
        )
    return "\n".join(aligned(rows))


def draw(lines: list[dict[str, Any]], file: Path) -> None:
    """A panel a setting, on one scale."""
    figure = Figure(figsize=(3.2 * len(lines), 3.2), layout="constrained")
    for axes, each in zip(figure.subplots(1, len(lines), sharey=True, squeeze=False)[0], lines, strict=True):
        epochs = range(1, len(each["rows"]) + 1)
        for column, name in (("train_loss", "training"), ("test_loss", "test")):
            axes.plot(epochs, [row[column] for row in each["rows"]], label=name)
        axes.set_title(each["name"].replace("; ", ";\n"), fontsize=9)
        axes.set_xlabel("epoch")
    figure.axes[0].set_ylabel("mean loss")
    figure.axes[0].legend()
    figure.savefig(file, dpi=110)


def main() -> None:
    """Train what is missing, and write the table and the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--output", type=Path, default=FOLDER)
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    experiment = Experiment(
        data="fashion-mnist",
        model="lenet5",
        space=paper_space(),
        objective=make_objective("val-loss"),
        epochs=EPOCHS,
        channels_last=True,
    )
    path = options.output / "behaviour.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    for name, params in settings(read_table(options.table)).items():
        if name not in {each["name"] for each in lines}:
            lines.append({"name": name, "params": params, "rows": follow(experiment, params)})
            with path.open("a") as file:
                file.write(json.dumps(lines[-1]) + "\n")
            print(table_of(lines[-1:]), flush=True)
    header = f"command   python -m benchmarks.compare.behaviour\n{machine()}"
    (options.output / "behaviour.txt").write_text(f"{header}\n\n{table_of(lines)}\n")
    draw(lines, options.output / "behaviour.png")


if __name__ == "__main__":
    main()
