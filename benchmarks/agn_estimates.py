"""Claim: the AGN of 1,000 random samples an epoch orders configurations as the exact one does, Kendall's tau
at least 0.97, for at most 5 % of a training epoch. The AGN gathered while training stands beside it.

LeNet-5 is trained in random configurations of the paper's space on Fashion-MNIST's reduced training set, a
search's 12,000 images, for 4 epochs instead of 160, at a constant learning rate, since it decays from half of
the epochs on; AGN is the sum over them. A configuration that diverges gives way to the next draw.

Each epoch is trained twice from the same state, with `OnlineAGN` and without, in alternating order: the
difference is its cost. The others' cost is that of a pass of their own, as in a search, the draw of the
subset and the normalization of what is drawn included. Processor seconds on one thread.

    python -m benchmarks.agn_estimates
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import Any

import torch
from scipy.stats import kendalltau

from benchmarks.machine import machine
from hpo_gn.allocator import keep_freed_memory
from hpo_gn.data import DataSet, Split, open_data, search_splits
from hpo_gn.measures import AGN, OnlineAGN, measure
from hpo_gn.models import build_model
from hpo_gn.seeds import derive_seed
from hpo_gn.space import paper_space
from hpo_gn.training import Training, supervised

TAU, SHARE = 0.97, 0.05
"""The bars."""
SAMPLES = 1000
ESTIMATES = {
    "exact": "all samples",
    "fixed": "a fixed subset",
    "fresh": "a fresh subset an epoch",
    "online": "online, while training",
}

Run = dict[str, Any]


def run(build: Callable[[], Training], data: Split, epochs: int, samples: int) -> Run:
    """Train and estimate at each epoch's end.

    Args:
        build: the training from its start.
        data: the training split.
        epochs: how many.
        samples: of a subset.

    Returns:
        In which epoch the training diverged, if it did; else seconds of each epoch's training, and by
        estimate the value at each epoch and its cost over that of training.
    """
    training, watched = build(), build()
    values: dict[str, list[float]] = {name: [] for name in ESTIMATES}
    shares: dict[str, list[float]] = {name: [] for name in ESTIMATES}
    seconds = []
    for epoch in range(epochs):
        both = [training.run_epoch, partial(train_online, watched, values["online"])]
        trained, longer = timed(both, swapped=epoch % 2 == 1)
        seconds.append(trained)
        shares["online"].append(longer / trained - 1)
        fresh = AGN(samples=samples, seed=epoch)
        for name, measured in {"exact": AGN(), "fixed": AGN(samples=samples), "fresh": fresh}.items():
            began = time.process_time()
            values[name].append(measure(training.model, data, [measured])["agn"])
            shares[name].append((time.process_time() - began) / trained)
        if not all(math.isfinite(value[-1]) for value in values.values()):
            return {"diverged_in_epoch": epoch + 1}
    return {"diverged_in_epoch": None, "epoch_s": rounded(seconds)} | {
        kind: {name: rounded(each) for name, each in of.items()}
        for kind, of in {"values": values, "shares": shares}.items()
    }


def train_online(training: Training, values: list[float]) -> None:
    """An epoch of training, whose AGN is added to the values."""
    online = OnlineAGN()
    with online.during_training(training.model):
        training.run_epoch()
    values.append(online.compute()["agn_online"])


def timed(functions: Sequence[Callable[[], object]], *, swapped: bool = False) -> list[float]:
    """Processor seconds of a call of each, in order or in reverse order."""
    seconds = dict.fromkeys(range(len(functions)), 0.0)
    for place in sorted(seconds, reverse=swapped):
        began = time.process_time()
        functions[place]()
        seconds[place] = time.process_time() - began
    return list(seconds.values())


def rounded(values: Sequence[float]) -> list[float]:
    """Six digits of each."""
    return [float(f"{value:.6g}") for value in values]


def runs_of(data: DataSet, *, count: int, epochs: int, samples: int, seed: int) -> Iterator[Run]:
    """Runs of drawn configurations until `count` have not diverged."""
    splits = search_splits(data)
    space = paper_space()
    space.seed(seed)
    draw = finished = 0
    while finished < count:
        config = dict(space.sample_configuration())
        build = partial(
            supervised(partial(build_model, "lenet5")),
            config,
            splits,
            epochs=2 * epochs,  # no decay within the first half
            seed=derive_seed(seed, draw),
        )
        result = run(build, splits.train, epochs, samples)
        yield {"draw": draw, "config": config} | result
        finished += result["diverged_in_epoch"] is None
        draw += 1


def summed(runs: Sequence[Run], name: str) -> list[float]:
    """AGN by an estimate, one a run."""
    return [sum(run["values"][name]) for run in runs]


def discordant(first: Sequence[float], second: Sequence[float]) -> int:
    """Pairs that the two order differently."""
    pairs = combinations(zip(first, second, strict=True), 2)
    return sum((a - c) * (b - d) < 0 for (a, b), (c, d) in pairs)


def costs(runs: Sequence[Run], name: str) -> list[float]:
    """An estimate's cost over that of training, one an epoch."""
    return [share for run in runs for share in run["shares"][name]]


def table(runs: Sequence[Run], samples: int) -> str:
    """The result, one line an estimate."""
    ended = [run for run in runs if run["diverged_in_epoch"] is None]
    exact = summed(ended, "exact")
    pairs = len(ended) * (len(ended) - 1) // 2
    lines = [
        f"{len(ended)} configurations, {len(runs) - len(ended)} more diverged; "
        f"a training epoch takes {median(second for run in ended for second in run['epoch_s']):.2f} s",
        "",
        f"estimate, subsets of {samples:,}     tau   discordant pairs   share of an epoch (min–max)   bars",
    ]
    for name, words in ESTIMATES.items():
        values, spent = summed(ended, name), costs(ended, name)
        tau = float(kendalltau(exact, values).statistic)
        cost = f"{median(spent):.1%} ({min(spent):.1%}–{max(spent):.1%})"
        of = f"{discordant(exact, values)} of {pairs}"
        bars = judged(name, tau, median(spent))
        lines.append(f"{words:<26} {tau:>8.3f}   {of:>16}   {cost:>27}   {bars}".rstrip())
    ratios = [mine / other for mine, other in zip(summed(ended, "online"), exact, strict=True)]
    lines += ["", f"Online / exact: {min(ratios):.2f} to {max(ratios):.2f}, another quantity."]
    return "\n".join(lines)


def judged(name: str, tau: float, share: float) -> str:
    """An estimate's bars, and whether they are reached; the one gathered online has none for its order."""
    if name == "exact":
        return ""
    both = {} if name == "online" else {f"tau ≥ {TAU}": tau >= TAU}
    both[f"≤ {SHARE:.0%}"] = share <= SHARE
    return ", ".join(f"{bar} {'reached' if reached else 'missed'}" for bar, reached in both.items())


def header(arguments: Mapping[str, Any], data: DataSet) -> str:
    """What was run, where and with what."""
    return "\n".join(
        (
            f"Estimates of AGN against the exact one; bars tau {TAU} at {SHARE:.0%} of a training epoch",
            f"command   python -m benchmarks.agn_estimates {' '.join(sys.argv[1:])}".rstrip(),
            f"data      {data.name}, the reduced training set: {len(search_splits(data).train):,} images",
            f"training  LeNet-5, {arguments['epochs']} epochs, draws of seed {arguments['seed']}",
            machine(),
        )
    )


def main() -> None:
    """Run, and write the table and the runs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=40, help="configurations that do not diverge")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--samples", type=int, default=SAMPLES, help="of a subset")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    given, data = vars(arguments), open_data(arguments.data)
    output: Path = given.pop("output")
    del given["data"]
    output.mkdir(parents=True, exist_ok=True)
    runs = []
    with (output / "agn_estimates.jsonl").open("w") as file:
        for each in runs_of(data, **given):
            runs.append(each)
            print(json.dumps(each), file=file, flush=True)
            print(each["draw"], each["config"], each["diverged_in_epoch"] or "", flush=True)
    text = f"{header(given, data)}\n\n{table(runs, given['samples'])}\n"
    print(text)
    (output / "agn_estimates.txt").write_text(text)


if __name__ == "__main__":
    main()
