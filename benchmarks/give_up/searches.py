"""Claim: with give-up, a search of 512 epochs tries more configurations, and finds a better one.

Three searchers, three seeds, each with no pruner, with ours as it comes and with `one-epoch`, on real images:
an MLP on the first 6,000 training images of Fashion-MNIST, 16 epochs a trial. The winners are retrained on
all of those, with three seeds, and tested on the 10,000 test images. Scaled to two cores: the network and the
tenth of the data.

A stopped benchmark continues: each finished search is a line of OUTPUT/searches.jsonl.

    python -m benchmarks.give_up.searches
"""

import argparse
import json
import tempfile
from collections.abc import Iterable
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import optuna
from torch import Tensor

from benchmarks.machine import machine
from benchmarks.tables import aligned
from hpo_gn import Experiment, make_objective, search
from hpo_gn.data import DataSet, open_data
from hpo_gn.data.dataset import OfficialSplit
from hpo_gn.result import Result
from hpo_gn.space import paper_space

FOLDER = Path(__file__).parents[1] / "results" / "give_up"
SEARCHERS = ("cma-es", "particle-swarm", "random")
PRUNERS = (None, "give-up", "one-epoch")
BUDGET = 512
EPOCHS = 16
IMAGES = 6_000


def fashion_mnist_tenth() -> DataSet:
    """Fashion-MNIST with the first tenth of its training set."""
    whole = open_data("fashion-mnist")

    def read(split: OfficialSplit) -> tuple[Tensor, Tensor]:
        inputs, targets = whole.read(split)
        return (inputs[:IMAGES], targets[:IMAGES]) if split == "train" else (inputs, targets)

    return DataSet("a tenth of fashion-mnist", whole.classes, read)


def run(searcher: str, pruner: str | None, seed: int) -> dict[str, Any]:
    """One search and its retraining, as a line of the results."""
    experiment = Experiment(
        data="benchmarks.give_up.searches:fashion_mnist_tenth",
        space=paper_space(),
        objective=make_objective("val-loss"),
        model="mlp",
        searcher=searcher,
        pruner=pruner,
        epochs=EPOCHS,
        seed=seed,
    )
    with tempfile.TemporaryDirectory() as folder:
        result = search(experiment, budget=BUDGET, workers=1, device="cpu", study="study", output=folder)
    return {"searcher": searcher, "pruner": pruner or "none", "seed": seed} | _line(result)


def _line(result: Result) -> dict[str, Any]:
    kills = result.false_kills
    return {
        "trials": result.trials,
        "spent": result.search.spent,
        "value": result.value,
        "test_accuracy": result.winner.test_accuracy,
        "failures": len(result.winner.failures),
        "given_up": kills.given_up if kills else 0,
        "epochs_saved": kills.epochs_saved if kills else 0,
        "shadows": kills.shadows if kills else 0,
        "wrong": kills.wrong if kills else 0,
        "shadow_epochs": kills.shadow_epochs if kills else 0,
    }


def table(lines: Iterable[dict[str, Any]]) -> str:
    """A row for each searcher and pruner: means over the seeds, and standard deviations of what matters."""
    found = list(lines)
    rows = [
        (
            *("searcher", "pruner", "n", "configurations", "given up", "epochs saved", "shadows", "wrong"),
            *("best val_loss", "test accuracy, %", "failed retrainings"),
        )
    ]
    for searcher, pruner in product(SEARCHERS, PRUNERS):
        mine = [each for each in found if (each["searcher"], each["pruner"]) == (searcher, pruner or "none")]
        if mine:
            rows.append((searcher, pruner or "none", *_row(mine)))
    return "\n".join(aligned(rows))


def _row(lines: list[dict[str, Any]]) -> tuple[str, ...]:
    accuracies = [100 * mean(each["test_accuracy"]) for each in lines if each["test_accuracy"]]
    return (
        str(len(lines)),
        f"{mean(sum(each['trials'].values()) for each in lines):.1f}",
        f"{mean(each['given_up'] for each in lines):.1f}",
        f"{mean(each['epochs_saved'] for each in lines):.0f}",
        str(sum(each["shadows"] for each in lines)),
        str(sum(each["wrong"] for each in lines)),
        _spread([each["value"] for each in lines], 4),
        _spread(accuracies, 2),
        str(sum(each["failures"] for each in lines)),
    )


def _spread(values: list[float], digits: int) -> str:
    deviation = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{mean(values):.{digits}f}{deviation}"


def main() -> None:
    """Run what is missing and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=FOLDER)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = options.output / "searches.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    done = {(each["searcher"], each["pruner"], each["seed"]) for each in lines}
    for pruner, seed, searcher in product(PRUNERS, range(options.seeds), SEARCHERS):
        if (searcher, pruner or "none", seed) in done:
            continue
        lines.append(run(searcher, pruner, seed))
        with path.open("a") as file:
            file.write(json.dumps(lines[-1]) + "\n")
        print(lines[-1], flush=True)
    header = f"command   python -m benchmarks.give_up.searches\n{machine()}"
    (options.output / "searches.txt").write_text(f"{header}\n\n{table(lines)}\n")


if __name__ == "__main__":
    main()
