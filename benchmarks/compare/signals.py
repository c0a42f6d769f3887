"""What AGN and its peers say of the runs of the recorded table, no searching involved.

1. The paper's Fig. 3: Spearman of AGN with the generalization gap, validation loss less training loss, of the
   first 32 random configurations as in the paper and of all, split at a training accuracy of 88 %.
2. The same by bands of training accuracy, to see where the sign changes: what a fit gate is for.
3. Spearman of every objective with the full-data test accuracy, among the random runs that were retrained;
   those that were retrained because replays chose them would bias it. And what it chooses among all of both.
4. The gate: among the runs that pass it, Spearman of AGN with the gap and with the validation accuracy, for
   levels of each of its three numbers, on the even-numbered runs and on the odd ones.

    python -m benchmarks.compare.signals
"""

import argparse
import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise, takewhile
from pathlib import Path
from statistics import mean

import numpy as np
from scipy.stats import spearmanr

from benchmarks.compare.retested import COUNT, order
from benchmarks.compare.table import TABLE
from benchmarks.machine import machine
from benchmarks.tables import aligned
from hpo_gn import make_objective
from hpo_gn.judging import values_of
from hpo_gn.objectives import Objective
from hpo_gn.objectives._fit_gate import FitGate
from hpo_gn.recorded import RecordedRun, read_table

FILE = Path(__file__).parents[1] / "results" / "compare" / "signals.txt"
WELL_FITTED = 0.88
BANDS = (0.0, 0.15, 0.5, 0.7, 0.8, 0.85, 0.88, 1.01)
FEWEST = 8
"""Runs below which a correlation is not given."""
RESAMPLES = 2000


def agn(run: RecordedRun) -> float:
    """AGN over all epochs."""
    return sum(run.history.column("agn"))


def gap(run: RecordedRun) -> float:
    """Validation loss less training loss after the last epoch."""
    return run.history.last("val_loss") - run.history.last("train_loss")


def test_accuracy(run: RecordedRun) -> float:
    """The mean of its retrainings; NaN if it was not retrained."""
    return mean(run.test_accuracy) if run.test_accuracy else math.nan


def random_tested(runs: Sequence[RecordedRun]) -> list[RecordedRun]:
    """The runs that were retrained since they were drawn: of the random order, those before the first that
    should have been and was not.
    """
    completed = {run.number: run for run in runs}
    drawn = [completed[number] for number in order() if number in completed]
    return list(takewhile(lambda run: run.test_accuracy, drawn))[:COUNT]


def correlation(first: Iterable[float], second: Iterable[float]) -> str:
    """Spearman with its 95 % bootstrap interval over runs, and n."""
    pairs = np.array([pair for pair in zip(first, second, strict=True) if all(map(math.isfinite, pair))])
    if len(pairs) < FEWEST:
        return f"n={len(pairs)}, too few"
    drawn = np.random.default_rng(0).integers(len(pairs), size=(RESAMPLES, len(pairs)))
    resampled = [spearmanr(*pairs[each].T).statistic for each in drawn]
    low, high = np.nanquantile(resampled, (0.025, 0.975))
    return f"{spearmanr(*pairs.T).statistic:+.2f} [{low:+.2f}, {high:+.2f}] n={len(pairs)}"


def figure_3(runs: Sequence[RecordedRun]) -> Iterator[tuple[str, ...]]:
    """The correlations of Fig. 3."""
    yield ("runs", "well fitted, training accuracy ≥ 88 %", "under-fitted", "all")
    for name, some in (("the first 32", runs[:32]), (f"all {len(runs)}", runs)):
        fitted = [run for run in some if run.history.last("train_accuracy") >= WELL_FITTED]
        under = [run for run in some if run.history.last("train_accuracy") < WELL_FITTED]
        yield (
            name,
            *(correlation(map(agn, each), map(gap, each)) for each in (fitted, under, some)),
        )


def bands(runs: Sequence[RecordedRun]) -> Iterator[tuple[str, ...]]:
    """By training accuracy."""
    yield ("training accuracy", "AGN and gap", "AGN and validation accuracy", "AGN and test accuracy")
    for low, high in pairwise(BANDS):
        some = [run for run in runs if low <= run.history.last("train_accuracy") < high]
        tested = [run for run in random_tested(runs) if run in some]
        yield (
            f"{low:.2f} to {min(high, 1):.2f}",
            correlation(map(agn, some), map(gap, some)),
            correlation(map(agn, some), [run.history.last("val_accuracy") for run in some]),
            correlation(map(agn, tested), map(test_accuracy, tested)),
        )


def objectives() -> dict[str, Objective]:
    """Those that are compared, by name."""
    names = ("val-loss", "val-error", "s-fv", "rank-sum", "pareto", "one-deviation")
    found = {name: make_objective(name) for name in names}
    for name in ("rank-sum", "pareto", "one-deviation"):
        found[f"{name} gated"] = make_objective(name, gated=True)
    for name in ("agn-train", "agn-val"):
        for alpha in (1e-5, 1e-4, 1e-3, 1e-2):
            found[f"{name} α={alpha:g}"] = make_objective(name, alpha=alpha)
            found[f"{name} α={alpha:g} gated"] = make_objective(name, alpha=alpha, gated=True)
    return found


def rankings(runs: Sequence[RecordedRun]) -> Iterator[tuple[str, ...]]:
    """How well each objective ranks the retrained runs; minus, since lower values are better."""
    tested, drawn = [run for run in runs if run.test_accuracy], random_tested(runs)
    yield ("objective", "−Spearman with test accuracy", "test accuracy of its choice, %", "best there is, %")
    for name, objective in objectives().items() if tested else ():
        chosen = tested[int(np.argmin(values_of(objective, [run.history for run in tested])))]
        values = values_of(objective, [run.history for run in drawn])
        yield (
            name,
            correlation([-value for value in values], map(test_accuracy, drawn)),
            f"{100 * test_accuracy(chosen):.2f}",
            f"{100 * max(map(test_accuracy, tested)):.2f}",
        )


def gates() -> dict[str, FitGate]:
    """Levels of one number at a time."""
    open_gate = {"accuracy": 0.0, "entropy": 1.0, "dead_units": 1.0}
    levels = {
        "accuracy": (0.0, 0.5, 0.7, 0.8, 0.85, 0.87, 0.9),
        "entropy": (0.5, 0.3, 0.2, 0.15),
        "dead_units": (0.5, 0.2, 0.05),
    }
    return {
        f"{name} {level:g}": FitGate(**open_gate | {name: level})
        for name, some in levels.items()
        for level in some
    } | {"default": FitGate()}


def gate_levels(runs: Sequence[RecordedRun]) -> Iterator[tuple[str, ...]]:
    """What AGN is worth behind each gate, on two halves that share no run."""
    halves = {"even": runs[::2], "odd": runs[1::2]}
    yield ("gate", "runs", "AGN and gap", "AGN and validation accuracy")
    for name, gate in gates().items():
        for half, some in halves.items():
            passed = [run for run in some if gate.passes(run.history)]
            accuracies = [run.history.last("val_accuracy") for run in passed]
            yield (
                name,
                half,
                correlation(map(agn, passed), map(gap, passed)),
                correlation(map(agn, passed), accuracies),
            )


def main() -> None:
    """Write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--output", type=Path, default=FILE)
    options = parser.parse_args()
    runs = [run for run in read_table(options.table).runs if run.completed]
    parts = {
        "Fig. 3: Spearman of AGN and the generalization gap": figure_3(runs),
        "By training accuracy": bands(runs),
        "Objectives and the full-data test accuracy": rankings(runs),
        "Gates": gate_levels(runs),
    }
    tables = [f"{title}\n\n" + "\n".join(aligned(list(rows))) for title, rows in parts.items()]
    header = f"command   python -m benchmarks.compare.signals\n{machine()}\nruns      {len(runs)} completed"
    text = "\n\n\n".join([header, *tables]) + "\n"
    options.output.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
