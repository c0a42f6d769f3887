"""Claim: a search with AGN takes at most 1.10 times as long as one that only validates.

The paper's took 4.2 times as long: 3,633 s against 856 s a model, ResNet-56 on CIFAR-10's reduced set.

One training a row, on the reduced sets: epochs of training and of measuring what the row says, the rows
taking turns epoch by epoch. Processor seconds, medians over the epochs; the first, which allocates, does not
count.

    python -m benchmarks.compare.agn_time
"""

import argparse
import time
from pathlib import Path
from statistics import median

import torch

from benchmarks.machine import machine
from benchmarks.tables import aligned
from hpo_gn import Experiment, make_objective
from hpo_gn.allocator import keep_freed_memory
from hpo_gn.measures import AGN, Accuracy, MeanLoss, Measure, OnlineAGN, measure, read_in_training
from hpo_gn.space import paper_space
from hpo_gn.training import Training

FILE = Path(__file__).parents[1] / "results" / "compare" / "agn_time.txt"
TASKS = (("lenet5", "fashion-mnist", 9), ("mlp", "fashion-mnist", 9))
"""Network, data, and epochs that count."""

VALIDATED: tuple[Measure, ...] = (MeanLoss("validation"), Accuracy("validation"))
ROWS: dict[str, tuple[Measure, ...]] = {
    "validation loss and accuracy": VALIDATED,
    "and training loss": (*VALIDATED, MeanLoss("train")),
    "AGN exact, and training loss": (*VALIDATED, MeanLoss("train"), AGN()),
    "AGN of 1,000 samples": (*VALIDATED, AGN(samples=1000)),
    "AGN gathered in training": (*VALIDATED, OnlineAGN()),
}


def times(model: str, data: str, epochs: int) -> dict[str, float]:
    """Median processor seconds of an epoch and its measuring, by row."""
    experiment = Experiment(
        data=data, model=model, space=paper_space(), objective=make_objective("val-loss"), epochs=epochs + 1
    )
    splits = experiment.splits("search", torch.device("cpu"))
    samples = {"train": splits.train, "validation": splits.validation}

    def epoch(training: Training, measures: tuple[Measure, ...]) -> float:
        began = time.process_time()
        with read_in_training(training.model, measures):
            training.run_epoch()
        measure(training.model, samples, measures)
        return time.process_time() - began

    trainings = {
        name: experiment.build(experiment.initial, splits, epochs=epochs + 1, seed=0) for name in ROWS
    }
    found: dict[str, list[float]] = {name: [] for name in ROWS}
    for _ in range(epochs + 1):
        for name, measures in ROWS.items():
            found[name].append(epoch(trainings[name], measures))
    return {name: median(values[1:]) for name, values in found.items()}


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--output", type=Path, default=FILE)
    options = parser.parse_args()
    torch.set_num_threads(1)
    keep_freed_memory()
    rows = [("network", "data", "what is measured", "n", "s an epoch", "ratio")]
    for model, data, epochs in TASKS:
        found = times(model, data, epochs)
        base = found["validation loss and accuracy"]
        rows += [
            (model, data, name, str(epochs), f"{seconds:.3f}", f"{seconds / base:.3f}")
            for name, seconds in found.items()
        ]
        print("\n".join(aligned(rows)), flush=True)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    header = f"command   python -m benchmarks.compare.agn_time\n{machine()}"
    options.output.write_text(header + "\n\n" + "\n".join(aligned(rows)) + "\n")


if __name__ == "__main__":
    main()
