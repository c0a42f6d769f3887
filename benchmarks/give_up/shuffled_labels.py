"""Question: when a network learns shuffled labels by heart, does s_s turn negative as its validation accuracy
falls, so that the validation samples' activations give over-fitting away without their labels (Fig. 9 of
"Predicting the success of Gradient Descent for a particular Dataset-Architecture-Initialization")?

Shell-32 with 40 % of the 20,000 training labels shuffled; a perceptron 32-128-128-2, normal Xavier, SGD,
batches of 32. The training accuracy is that on the shuffled labels, taken every 10 epochs.

Chosen: a learning rate of 0.1, a hundred times the paper's, whose number of epochs is not stated: with 1e-3
the same path takes about a hundred times as many.

    python -m benchmarks.give_up.shuffled_labels
"""

import argparse
import math
import sys
from pathlib import Path

import numpy as np
import optuna
import torch
from matplotlib.figure import Figure
from optuna.trial import TrialState, create_trial

from benchmarks.give_up.scores import Floats, history
from benchmarks.give_up.trainings import Experiment, Network, Run
from benchmarks.machine import machine
from hpo_gn.allocator import keep_freed_memory
from hpo_gn.data.shell import shell
from hpo_gn.history import write_row
from hpo_gn.measures.early_success import DEFAULTS, s_s
from hpo_gn.searchers.pruners.give_up import GiveUpPruner

DIMENSIONS, HIDDEN = 32, (128, 128)
SHUFFLED = 0.4
SHOWN = (1, 5, 10, 20, 30, 40, 60, 80, 100, 150, 200, 250)


def shifts(run: Run) -> Floats:
    """s_s by epoch; NaN in the first epochs, which are less than a window."""
    known = history(run)
    if known is None:
        raise ValueError("the training diverged")
    early = [math.nan] * (DEFAULTS.t0 - 1)
    return np.array([*early, *(s_s(known.upto(epoch)) for epoch in range(DEFAULTS.t0, len(known) + 1))])


def given_up(run: Run) -> list[bool]:
    """By epoch: whether `GiveUpPruner` with the paper's threshold of s_F, which needs no labels, would stop
    the run there.
    """
    known = history(run)
    if known is None:
        raise ValueError("the training diverged")
    pruner = GiveUpPruner(signal="s-f", threshold=DEFAULTS.t1)
    trial, study, stops = create_trial(state=TrialState.RUNNING), optuna.create_study(), []
    for epoch, row in enumerate(known.rows, 1):
        write_row(trial, epoch, row)
        stops.append(pruner.prune(study, trial))
    return stops


def summarize(run: Run) -> list[str]:
    """The course of the training, and how often s_s is negative before, during and after the fall."""
    rows, shift = run["rows"], shifts(run)
    accuracy = np.array(rows["val_accuracy"])
    lines = [f"{'epoch':>6}{'validation':>12}{'training':>10}{'val. loss':>11}{'s_s':>12}"]
    for epoch in (epoch for epoch in SHOWN if epoch <= len(accuracy)):
        fitted, shown = rows["train_accuracy"][epoch - 1], shift[epoch - 1]
        training = "" if fitted is None else f"{fitted:.4f}"
        last = "" if math.isnan(shown) else f"{shown:+.2e}"
        loss = rows["val_loss"][epoch - 1]
        lines.append(f"{epoch:6}{accuracy[epoch - 1]:12.4f}{training:>10}{loss:11.4f}{last:>12}")
    best = int(accuracy.argmax())
    worst = best + int(accuracy[best:].argmin())
    phases = {
        "rises": slice(DEFAULTS.t0 - 1, best + 1),
        "falls": slice(best + 1, worst + 1),
        "has fallen": slice(worst + 1, None),
    }
    stops = np.array(given_up(run))
    lines += ["", f"best validation accuracy {accuracy[best]:.4f} after epoch {best + 1}"]
    lines += [f"lowest from then on {accuracy[worst]:.4f} after epoch {worst + 1}"]
    for phase, epochs in phases.items():
        values = shift[epochs]
        lines.append(
            f"while it {phase}: s_s negative in {int((values < 0).sum())} of {len(values)} epochs, "
            f"its sum {values.sum():+.2e}; s_F at most {DEFAULTS.t1} in {int(stops[epochs].sum())}"
        )
    if stops.any():
        first = int(stops.argmax())
        lines.append(
            f"GiveUpPruner(signal='s-f', threshold={DEFAULTS.t1}) stops it after epoch {first + 1}, "
            f"at a validation accuracy of {accuracy[first]:.4f}"
        )
    return lines


def draw(run: Run, file: Path) -> None:
    """Accuracies, below them S of each hidden layer, and s_s, by epoch."""
    rows, shift = run["rows"], shifts(run)
    epochs = np.arange(1, len(shift) + 1)
    figure = Figure(figsize=(7, 8), layout="constrained")
    above, middle, below = figure.subplots(3, 1, sharex=True)
    fitted = np.array(rows["train_accuracy"], dtype=float)
    known = ~np.isnan(fitted)
    above.plot(epochs, rows["val_accuracy"], label="validation")
    above.plot(epochs[known], fitted[known], label="training, shuffled")
    above.set(ylabel="accuracy", title=f"Shell-{DIMENSIONS}, {SHUFFLED:.0%} of the training labels shuffled")
    above.legend(frameon=False)
    for layer in range(len(HIDDEN)):
        middle.plot(
            epochs, rows[f"spectrum:{layer}"], label=f"hidden layer {layer + 1}", color=f"C{layer + 2}"
        )
    middle.set(ylabel="S, sum of singular values / largest")
    middle.legend(frameon=False)
    below.plot(epochs, shift, color="C4")
    below.axhline(0, color="0.6", linewidth=0.8)
    below.set(xlabel="epoch", ylabel="s_s", xscale="log")
    below.set_yscale("symlog", linthresh=1e-4)
    figure.savefig(file, dpi=80)


def main() -> None:
    """Train what is missing, and write the summary and the figure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--epochs", type=int, default=250)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).parents[1] / "results" / "give_up" / "shuffled_labels"
    )
    arguments = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    arguments.output.mkdir(parents=True, exist_ok=True)
    experiment = Experiment(
        "shuffled labels",
        "sgd",
        arguments.learning_rate,
        arguments.epochs,
        arguments.seed,
        device=arguments.device,
    )
    data = shell(DIMENSIONS, shuffled=SHUFFLED, seed=arguments.seed)
    network = Network(0, (DIMENSIONS, *HIDDEN, 2), 1.0)
    (run,) = experiment.complete(arguments.output / "runs.jsonl.gz", data, [network])
    command = f"command   python -m benchmarks.give_up.shuffled_labels {' '.join(sys.argv[1:])}".rstrip()
    training = f"training  SGD {arguments.learning_rate:g}, {arguments.epochs} epochs, seed {arguments.seed}"
    title = "Shuffled labels on Shell-32 (Fig. 9 of the early-success paper)"
    text = "\n".join((title, command, training, machine(), "", *summarize(run), ""))
    print(text)
    (arguments.output / "summary.txt").write_text(text)
    draw(run, arguments.output / "figure.png")


if __name__ == "__main__":
    main()
