"""Question: does s_Fv after 10, 20 or 30 epochs of 100 rank architectures by their final validation accuracy
better than the validation accuracy of that epoch does, as in Table III of "Predicting the success of Gradient
Descent for a particular Dataset-Architecture-Initialization"?

Shell-1024; 50 perceptrons with 1 to 11 hidden layers of 32, 64, 128, 256 or 512 units, drawn at random, each
with one initialization; Adam, learning rate 1e-4, batches of 32, 100 epochs.

Chosen: the paper speaks of architectures and initializations, so the standard deviation of normal Xavier is
multiplied by a factor, uniform on a log scale in [0.1, 10].

Parameters calibrated on DA-I are read from that benchmark's trainings.

Scaled on a CPU: every dimension by 1/4, the input's among them, and the first 25 architectures only.

A stopped benchmark continues: finished trainings are lines of OUTPUT/runs.jsonl.gz.

    python -m benchmarks.give_up.architectures
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

from benchmarks.give_up.figures import confusions, correlations, counts, describe, draw, signals
from benchmarks.give_up.initializations import calibrated
from benchmarks.give_up.scores import Trained
from benchmarks.give_up.trainings import Experiment, Network, read
from benchmarks.machine import machine
from hpo_gn.allocator import keep_freed_memory
from hpo_gn.data.shell import shell
from hpo_gn.seeds import derive_seed

COUNT = 50
INPUTS = 1024
PAPER = ((0.529, 0.719, 0.671), (0.632, 0.789, 0.752), (0.657, 0.843, 0.814))
"""Spearman of s_F, s_Fv and validation accuracy by checkpoint."""
RESULTS = Path(__file__).parents[1] / "results" / "give_up"


def networks(scale: float, count: int, seed: int) -> list[Network]:
    """The first architectures of the experiment."""
    generator = np.random.default_rng(derive_seed(seed, 3))
    found = []
    for number in range(count):
        hidden = 2 ** generator.integers(5, 10, size=generator.integers(1, 12))
        widths = [round(scale * width) for width in (INPUTS, *hidden.tolist())]
        found.append(Network(number, (*widths, 2), float(10 ** generator.uniform(-1, 1))))
    return found


def header(arguments: argparse.Namespace) -> str:
    """What was run, where and with what."""
    return "\n".join(
        (
            "Early-success scores over architectures on Shell (Table III of the early-success paper)",
            f"command   python -m benchmarks.give_up.architectures {' '.join(sys.argv[1:])}".rstrip(),
            f"scale     of every dimension: {arguments.scale:g}; {arguments.count} of {COUNT} architectures",
            f"training  {arguments.epochs} epochs, seed {arguments.seed}, {arguments.device}",
            machine(),
        )
    )


def main() -> None:
    """Train what is missing, and write the summary and the figure."""
    on_gpu = torch.cuda.is_available()
    parser = argparse.ArgumentParser()
    parser.add_argument("--scale", type=float, default=1.0 if on_gpu else 0.25)
    parser.add_argument("--count", type=int, default=COUNT if on_gpu else 25)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if on_gpu else "cpu")
    parser.add_argument("--calibration", type=Path, default=RESULTS / "initializations" / "da-i.jsonl.gz")
    parser.add_argument("--output", type=Path, default=RESULTS / "architectures")
    arguments = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    arguments.output.mkdir(parents=True, exist_ok=True)
    experiment = Experiment(
        f"architectures, scale {arguments.scale}",
        "adam",
        1e-4,
        arguments.epochs,
        arguments.seed,
        device=arguments.device,
    )
    runs = experiment.complete(
        arguments.output / "runs.jsonl.gz",
        shell(round(arguments.scale * INPUTS), seed=arguments.seed),
        networks(arguments.scale, arguments.count, arguments.seed),
    )
    trained, (variants, _) = Trained.of(runs), calibrated(Trained.of(read(arguments.calibration)))
    lines = [counts("architectures", runs, trained), ""]
    lines += [f"{name}: {describe(parameters)}" for name, parameters in variants.items()]
    lines += ["", "Spearman with the final validation accuracy", *correlations(trained, variants, PAPER), ""]
    lines += [*confusions(trained, variants), "", *signals(runs)]
    text = "\n".join((header(arguments), "", *lines, ""))
    print(text)
    (arguments.output / "summary.txt").write_text(text)
    draw({"architectures": (runs, trained)}, variants, arguments.output / "figure.png")


if __name__ == "__main__":
    main()
