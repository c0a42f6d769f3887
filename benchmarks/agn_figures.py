"""Claim: AGN follows GN taken once an epoch, at a fraction of its time (Fig. 1 and 2 of the AGN paper, whose
Pearson correlations on MNIST are 0.962 for 9 MLPs and 0.987 for 12 LeNet-5s).

Configurations are drawn at random from the paper's space, the same ones for both networks; one that diverges
gives way to the next draw. Each is trained for 40 epochs on MNIST's reduced training set, at a constant
learning rate, since the paper states its decay for larger networks only. GN is taken twice: as defined, over
all iterations, each from 16 samples drawn anew, an unbiased sum with a standard error; and, like AGN, once an
epoch, from 3,000 samples.

Scaled to two cores: the reduced set, where the paper's Fig. 1 names none; in Fig. 2 neither ResNets nor full
data sets; GN from all samples at every iteration is not run, its time is iterations × one pass, as in the
paper.

Processor seconds, each part alone and over all samples; other processes inflate them less than wall time.

A stopped benchmark continues: each finished training is a line of OUTPUT/runs.jsonl.

    python -m benchmarks.agn_figures
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from itertools import chain, product
from pathlib import Path
from statistics import median
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import pearsonr, spearmanr
from torch import Tensor

from benchmarks.machine import machine
from hpo_gn.allocator import keep_freed_memory
from hpo_gn.data import DataSet, Split, open_data, search_splits
from hpo_gn.measures import AGN, GN, Accuracy, MeanLoss, measure
from hpo_gn.measures.path import Path as GradientPath
from hpo_gn.measures.path import along_path
from hpo_gn.models import build_model
from hpo_gn.seeds import derive_seed
from hpo_gn.space import paper_space
from hpo_gn.training import Training, supervised

COUNTS = {"mlp": 9, "lenet5": 12}
SAMPLES = 16
"""Of each iteration's GN."""
EPOCH_SAMPLES = 3000
"""Of each epoch's GN."""
WELL_FITTED = 0.88
"""Training accuracy from which the paper calls a model well fitted."""
MEASURES = {
    "agn": "AGN",
    "gn": "GN over epochs",
    "gn_path": "GN over iterations",
    "gn_path_per_epoch": "GN over iterations / iterations an epoch",
}
GN_FORMS = ("gn", "gn_path", "gn_path_per_epoch")
MARKERS = {"agn": ("o", "C0"), "gn": ("s", "C1"), "gn_path": ("^", "C2"), "gn_path_per_epoch": ("v", "C4")}
GAPS = {"val_gap": "validation gap", "gap": "test gap"}
NAMES = MEASURES | GAPS
ERRORS = ("gn_standard_error", "gn_path_standard_error")
TIMES = {
    "training": "training",
    "validation_accuracy": "validation accuracy",
    "agn": "AGN, a pass",
    "gn": "GN, a pass",
    "gn_path": f"GN, {SAMPLES} images an iteration",
    "gn_each_iteration": "GN, a pass an iteration (extrapolated)",
}
TIMED_ROUNDS = 2

Tensors = Mapping[str, tuple[Tensor, Tensor]]
"""Inputs [N, C, H, W], normalized, and targets [N] by split name."""
Run = dict[str, Any]


def complete(file: Path, network: str, count: int, data: DataSet, *, epochs: int, seed: int) -> list[Run]:
    """Train drawn configurations until `count` have finished; those in the file are not trained again."""
    stored = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    runs = [run for run in stored if (run["network"], run["epochs"], run["seed"]) == (network, epochs, seed)]
    splits = search_splits(data)
    test = Split(*data.read("test"), splits.train.mean, splits.train.std)
    named = {"train": splits.train, "validation": splits.validation, "test": test}
    tensors = {name: split.batch(slice(None)) for name, split in named.items() if split is not None}
    for draw, config in enumerate(draws(seed)):
        if sum(finished(run) for run in runs) >= count:
            break
        if draw in (run["draw"] for run in runs):
            continue
        build = partial(supervised(partial(build_model, network)), config, splits, epochs=2 * epochs)
        began = time.perf_counter()
        result = train(partial(build, seed=derive_seed(seed, draw)), tensors, epochs)
        runs.append(
            {"network": network, "epochs": epochs, "seed": seed, "draw": draw, "config": config} | result
        )
        with file.open("a") as lines:
            lines.write(json.dumps(runs[-1]) + "\n")
        print(f"{network} {draw} {config} {time.perf_counter() - began:.0f} s", flush=True)
    return runs


def draws(seed: int) -> Iterator[dict[str, Any]]:
    """Random configurations without end."""
    space = paper_space()
    space.seed(seed)
    while True:
        yield dict(space.sample_configuration())


def finished(run: Run) -> bool:
    """Whether it reached its last epoch with finite numbers."""
    return run["diverged_in_epoch"] is None


def train(build: Callable[[], Training], tensors: Tensors, epochs: int) -> Run:
    """Train and measure at each epoch's end.

    Args:
        build: the training, whose learning rate does not decay within `epochs`.
        tensors: the splits "train", "validation" and "test".
        epochs: how many.

    Returns:
        Sums over the training, seconds of an epoch's parts, and columns by epoch; all but the seconds follow
        from the seeds.
    """
    seconds = time_parts(build(), tensors)
    training, rows = build(), []
    judged = [kind(split) for split in ("train", "validation") for kind in (MeanLoss, Accuracy)]
    with gn_over_iterations(training, tensors) as path:
        for epoch in range(epochs):
            before = path.total
            training.run_epoch()
            row = measure(training.model, tensors, [AGN(), GN(EPOCH_SAMPLES, seed=epoch), *judged])
            rows.append({"gn_path": path.total - before, **row})
            if not all(map(math.isfinite, rows[-1].values())):
                return {"diverged_in_epoch": epoch + 1}
    test = measure(training.model, tensors, [MeanLoss("test"), Accuracy("test")])
    return {
        "diverged_in_epoch": None,
        "iterations": path.iterations,
        "gn_path": path.total,
        "gn_path_standard_error": path.standard_error,
        "gn": sum(row["gn"] for row in rows),
        "gn_standard_error": math.hypot(*(row["gn_standard_error"] for row in rows)),
        "agn": sum(row["agn"] for row in rows),
        "gap": test["test_loss"] - rows[-1]["train_loss"],
        "val_gap": rows[-1]["val_loss"] - rows[-1]["train_loss"],
        "train_accuracy": rows[-1]["train_accuracy"],
        "test_accuracy": test["test_accuracy"],
        "seconds": {name: float(f"{value:.4g}") for name, value in seconds.items()},
        "columns": {name: [float(f"{row[name]:.6g}") for row in rows] for name in rows[0]},
    }


def gn_over_iterations(training: Any, tensors: Tensors) -> AbstractContextManager[GradientPath]:
    """GN by its definition, of what is trained inside."""
    return along_path(training.model, training.optimizer, tensors["train"], samples=SAMPLES)


def time_parts(training: Training, tensors: Tensors) -> dict[str, float]:
    """Median processor seconds of an epoch of training, with GN at each iteration and without, and of each
    measure in a pass of its own over all samples, after a round that does not count.
    """

    def train_with_gn() -> None:
        with gn_over_iterations(training, tensors):
            training.run_epoch()

    parts: dict[str, Callable[[], object]] = {
        "training": training.run_epoch,
        "training_with_gn_path": train_with_gn,
        "validation_accuracy": partial(measure, training.model, tensors, [Accuracy("validation")]),
        "agn": partial(measure, training.model, tensors, [AGN()]),
        "gn": partial(measure, training.model, tensors, [GN()]),
    }
    times: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(1 + TIMED_ROUNDS):
        for name, part in parts.items():
            began = time.process_time()
            part()
            times[name].append(time.process_time() - began)
    return {name: median(values[1:]) for name, values in times.items()}


@dataclass(frozen=True)
class Correlation:
    """Of two quantities over n runs; NaN for fewer than 3 runs or a quantity that is the same in all."""

    n: int
    pearson: float
    low: float
    high: float
    spearman: float

    def __str__(self) -> str:
        if math.isnan(self.pearson):
            return f"n={self.n}"
        return f"{self.pearson:+.3f} [{self.low:+.2f}, {self.high:+.2f}] {self.spearman:+.3f} n={self.n}"


def correlate(runs: Sequence[Run], first: str, second: str) -> Correlation:
    """Pearson with its 95 % interval (Fisher) and Spearman, of two entries of each run."""
    x, y = ([run[name] for run in runs] for name in (first, second))
    if len(runs) < 3 or len(set(x)) == 1 or len(set(y)) == 1:
        return Correlation(len(runs), *[math.nan] * 4)
    pearson = pearsonr(x, y)
    interval = pearson.confidence_interval()
    return Correlation(len(runs), pearson.statistic, interval.low, interval.high, spearmanr(x, y).statistic)


def summarize(runs: Sequence[Run]) -> str:
    """The runs, the correlations of Fig. 1 and the times of Fig. 2, as text."""
    return "\n\n".join("\n".join(part(runs)) for part in (_counts, _runs, _correlations, _times))


def by_network(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """The finished runs of each network, with GN over iterations freed of how many an epoch has."""
    ended = [
        run | {"gn_path_per_epoch": run["gn_path"] / run["iterations"] * run["epochs"]}
        for run in runs
        if finished(run)
    ]
    return {name: found for name in COUNTS if (found := [run for run in ended if run["network"] == name])}


def well_fitted(run: Run) -> bool:
    """In the paper's sense."""
    return bool(run["train_accuracy"] >= WELL_FITTED)


def _counts(runs: Sequence[Run]) -> Iterator[str]:
    for network, ended in by_network(runs).items():
        drawn = sum(run["network"] == network for run in runs)
        yield (
            f"{network}: {drawn} drawn, {drawn - len(ended)} diverged, {sum(map(well_fitted, ended))} well "
            f"fitted (training accuracy at least {WELL_FITTED:.0%})"
        )


def _runs(runs: Sequence[Run]) -> Iterator[str]:
    names = ("batch", "learning rate", "momentum", "weight decay", "train acc.", "test acc.", *NAMES.values())
    rows = [["network", "draw", *names, "s.e. over epochs", "s.e. over iterations"]]
    for run in chain.from_iterable(by_network(runs).values()):
        fitted = [f"{run[name]:.4f}" for name in ("train_accuracy", "test_accuracy")]
        measured = [f"{run[name]:.4g}" for name in (*NAMES, *ERRORS)]
        config = [f"{value:.3g}" for value in run["config"].values()]
        rows.append([run["network"], str(run["draw"]), *config, *fitted, *measured])
    yield from _aligned(rows)


def _correlations(runs: Sequence[Run]) -> Iterator[str]:
    yield "Pearson [95 % interval] Spearman"
    rows = [["network", "of", "all runs", "well fitted", "under-fitted"]]
    for network, ended in by_network(runs).items():
        fitted = [run for run in ended if well_fitted(run)]
        others = [run for run in ended if not well_fitted(run)]
        for first, second in (*product(GN_FORMS, ("agn",)), *product(MEASURES, GAPS)):
            cells = (str(correlate(group, first, second)) for group in (ended, fitted, others))
            rows.append([network, f"{NAMES[first]}, {NAMES[second]}", *cells])
    yield from _aligned(rows)
    yield "paper, Pearson of GN and AGN: 0.962 (mlp, n=9), 0.987 (lenet5, n=12)"


def seconds(run: Run) -> dict[str, float]:
    """Of each thing that Fig. 2 compares, an epoch."""
    timed = dict(run["seconds"])
    path_s = timed.pop("training_with_gn_path") - timed["training"]
    each_iteration_s = timed["gn"] * run["iterations"] / run["epochs"]
    return timed | {"gn_path": path_s, "gn_each_iteration": each_iteration_s}


def _times(runs: Sequence[Run]) -> Iterator[str]:
    rows = [
        [
            "network",
            "processor seconds per epoch",
            "median over runs",
            "min",
            "max",
            "median / validation accuracy",
        ]
    ]
    for network, ended in by_network(runs).items():
        timed = [seconds(run) for run in ended]
        for name, label in TIMES.items():
            values = [each[name] for each in timed]
            ratio = median(each[name] / each["validation_accuracy"] for each in timed)
            numbers = (median(values), min(values), max(values), ratio)
            rows.append([network, label, *(f"{number:.3g}" for number in numbers)])
    yield from _aligned(rows)


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def draw_figure1(runs: Sequence[Run], file: Path) -> None:
    """Each measure against the gap, and GN against AGN; a row a network."""
    networks = by_network(runs)
    figure = Figure(figsize=(11, 4.6 * len(networks)), layout="constrained")
    for (network, ended), (left, right) in zip(
        networks.items(), figure.subplots(len(networks), 2, squeeze=False), strict=True
    ):
        for name in ("agn", "gn", "gn_path"):
            _scatter(left, ended, name, name, "val_gap")
        for name in GN_FORMS:
            _scatter(right, ended, name, "agn", name)
        left.set(xscale="log", xlabel="AGN or GN", ylabel="validation loss − training loss")
        right.set(xscale="log", yscale="log", xlabel="AGN", ylabel="GN")
        left.set_title(f"{network}, n = {len(ended)}: gap at the end against the measure")
        right.set_title(f"{network}, n = {len(ended)}: GN against AGN")
        for axes in (left, right):
            axes.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.17), frameon=False)
    figure.suptitle("Filled: training accuracy at least 88 %. Hollow: below.")
    figure.savefig(file, dpi=100)


def _scatter(axes: Axes, runs: Sequence[Run], name: str, x: str, y: str) -> None:
    marker, color = MARKERS[name]
    found = correlate(runs, x, y)
    label = f"{MEASURES[name]}: Pearson {found.pearson:+.3f}, Spearman {found.spearman:+.3f}"
    faces = [color if well_fitted(run) else "none" for run in runs]
    axes.scatter([run[x] for run in runs], [run[y] for run in runs], marker=marker, c=faces, edgecolors=color)
    axes.scatter([], [], marker=marker, color=color, label=label)


def draw_figure2(runs: Sequence[Run], file: Path) -> None:
    """Seconds per epoch: the median over runs, with the least and the greatest."""
    networks = by_network(runs)
    figure = Figure(figsize=(11, 3.8), layout="constrained")
    columns = figure.subplots(1, len(networks), squeeze=False, sharey=True)[0]
    columns[0].invert_yaxis()
    for (network, ended), axes in zip(networks.items(), columns, strict=True):
        timed = [seconds(run) for run in ended]
        values = [sorted(each[name] for each in timed) for name in TIMES]
        middle = [median(each) for each in values]
        below = [mid - each[0] for mid, each in zip(middle, values, strict=True)]
        above = [each[-1] - mid for mid, each in zip(middle, values, strict=True)]
        colors = ["0.6", "0.4", "C0", "C1", "C2", "C3"]
        bars = axes.barh(list(TIMES.values()), middle, xerr=(below, above), color=colors, capsize=3)
        axes.bar_label(bars, [f"{value:.3g} s" for value in middle], padding=6)
        axes.set(xscale="log", xlabel="processor seconds per epoch", title=f"{network}, n = {len(ended)}")
        axes.set_xlim(right=8 * max(each[-1] for each in values))
    figure.savefig(file, dpi=100)


def header(arguments: argparse.Namespace) -> str:
    """What was run, where and with what."""
    return "\n".join(
        (
            "AGN against GN over random configurations on MNIST (Fig. 1 and 2 of the AGN paper)",
            f"command   python -m benchmarks.agn_figures {' '.join(sys.argv[1:])}".rstrip(),
            "data      MNIST: 12,000 training, 6,000 validation, 10,000 test images",
            f"training  {arguments.epochs} epochs, constant learning rate, draws of seed {arguments.seed}",
            machine(),
        )
    )


def main() -> None:
    """Train what is missing, and write the summary and the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--networks", nargs="+", choices=COUNTS, default=list(COUNTS))
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "agn_figures")
    arguments = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    arguments.output.mkdir(parents=True, exist_ok=True)
    runs: list[Run] = []
    for network in arguments.networks:
        runs += complete(
            arguments.output / "runs.jsonl",
            network,
            COUNTS[network],
            open_data("mnist"),
            epochs=arguments.epochs,
            seed=arguments.seed,
        )
    text = f"{header(arguments)}\n\n{summarize(runs)}\n"
    print(text)
    (arguments.output / "summary.txt").write_text(text)
    draw_figure1(runs, arguments.output / "figure1.png")
    draw_figure2(runs, arguments.output / "figure2.png")


if __name__ == "__main__":
    main()
