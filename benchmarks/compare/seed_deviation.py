"""How much the validation loss of one configuration changes with the seed: the default of `OneDeviation`.

The best configurations of the recorded table, the quarter's, the median's and the initial settings are each
trained anew with several seeds on the reduced set.

A stopped benchmark continues: each finished training is a line of OUTPUT/seed_deviation.jsonl.

    python -m benchmarks.compare.seed_deviation
"""

import argparse
import json
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import torch

from benchmarks.compare.table import TABLE
from benchmarks.machine import machine
from benchmarks.tables import aligned
from hpo_gn import Experiment, make_objective
from hpo_gn.allocator import keep_freed_memory
from hpo_gn.measures import AGN, Accuracy, MeanLoss, measure
from hpo_gn.recorded import RecordedRun, RecordedTable, read_table
from hpo_gn.seeds import derive_seed
from hpo_gn.space import paper_space

FOLDER = Path(__file__).parents[1] / "results" / "compare"
SEEDS = 6
MEASURES = (MeanLoss("validation"), Accuracy("validation"), AGN())


def chosen(table: RecordedTable) -> dict[str, RecordedRun]:
    """Configurations over the range of losses, by their place."""
    completed = [run for run in table.runs if run.completed]
    ranked = sorted(completed, key=lambda run: run.history.last("val_loss"))
    places = {f"rank {place + 1}": ranked[place] for place in (0, 1, 2, len(ranked) // 8, len(ranked) // 4)}
    return places | {"initial settings": completed[0]}


def train(experiment: Experiment, params: dict[str, Any], seed: int) -> dict[str, float]:
    """The last epoch's row, and AGN over all epochs."""
    splits = experiment.splits("search", torch.device("cpu"))
    training = experiment.build(params, splits, epochs=experiment.epochs, seed=derive_seed(seed, 0))
    samples, agn = {"train": splits.train, "validation": splits.validation}, 0.0
    for _ in range(experiment.epochs):
        training.run_epoch()
        row = measure(training.model, samples, MEASURES)
        agn += row["agn"]
    return {"val_loss": row["val_loss"], "val_accuracy": row["val_accuracy"], "agn": agn}


def table_of(lines: list[dict[str, Any]]) -> str:
    """A row for each configuration."""
    rows = [("configuration", "n", "val_loss", "deviation", "share of the loss", "AGN", "share of AGN")]
    for place in dict.fromkeys(each["place"] for each in lines):
        losses, agns = (
            [each[name] for each in lines if each["place"] == place] for name in ("val_loss", "agn")
        )
        if len(losses) > 1:
            rows.append(
                (
                    *(place, str(len(losses)), f"{mean(losses):.4f}", f"{stdev(losses):.4f}"),
                    *(f"{stdev(losses) / mean(losses):.4f}", f"{mean(agns):.4g}"),
                    f"{stdev(agns) / mean(agns):.3f}",
                )
            )
    return "\n".join(aligned(rows))


def main() -> None:
    """Train what is missing and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--output", type=Path, default=FOLDER)
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    table = read_table(options.table)
    experiment = Experiment(
        data="fashion-mnist",
        model="lenet5",
        space=paper_space(),
        objective=make_objective("val-loss"),
        epochs=table.epochs,
        channels_last=True,
    )
    path = options.output / "seed_deviation.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = {(each["place"], each["seed"]) for each in lines}
    for place, run in chosen(table).items():
        for seed in range(SEEDS):
            if (place, seed) not in done:
                found = train(experiment, dict(run.params), seed)
                lines.append({"place": place, "number": run.number, "seed": seed, **found})
                with path.open("a") as file:
                    file.write(json.dumps(lines[-1]) + "\n")
                print(lines[-1], flush=True)
    header = f"command   python -m benchmarks.compare.seed_deviation\n{machine()}"
    (options.output / "seed_deviation.txt").write_text(f"{header}\n\n{table_of(lines)}\n")


if __name__ == "__main__":
    main()
