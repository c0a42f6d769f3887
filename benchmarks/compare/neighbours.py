"""How well the nearest recorded run stands for a configuration, which is what replays rest on.

Each run of the recorded table is left out in turn and foretold from the others: by its nearest neighbour as a
replay finds it, by the same without weights, by a random forest, and by any other run, drawn at random. The
forest is what a fitted surrogate would do; a replay takes the neighbour, since it has a whole history and a
real test, which no surrogate of three numbers has.

    python -m benchmarks.compare.neighbours
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy
import scipy
import sklearn

from benchmarks.compare.table import TABLE
from benchmarks.machine import machine
from benchmarks.tables import aligned
from hpo_gn.recorded import RecordedTable, read_table
from hpo_gn.recorded.leave_one_out import leave_one_out
from hpo_gn.unit_cube import UnitCube

FILE = Path(__file__).parents[1] / "results" / "compare" / "neighbours.txt"


def rows(table: RecordedTable) -> Iterator[tuple[str, ...]]:
    """One a target and way of foretelling it."""
    yield ("target", "foretold by", "runs", "Spearman", "in the better half", "median absolute error")
    for each in leave_one_out(table):
        figures = (f"{each.spearman:+.3f}", f"{each.better_half:+.3f}", f"{each.error:.4g}")
        yield (each.target, each.by, str(each.runs), *figures)


def report(table: RecordedTable, name: str) -> Iterator[str]:
    """The whole text."""
    yield f"Neighbours in {name}: {len(table.runs)} runs of {table.epochs} epochs, each left out in turn"
    yield f"command   python -m benchmarks.compare.neighbours {' '.join(sys.argv[1:])}".rstrip()
    libraries = ", ".join(f"{each.__name__} {each.__version__}" for each in (numpy, scipy, sklearn))
    yield f"{machine()}, {libraries}"
    yield ""
    weights = zip(UnitCube(table.distributions).names, table.weights, strict=True)
    yield "weights   " + ", ".join(f"{axis} {weight:.2f}" for axis, weight in weights)
    yield ""
    yield from aligned(list(rows(table)))


def main() -> None:
    """Print the table, and write it beside the other results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--table", type=Path, default=TABLE)
    parser.add_argument("--output", type=Path, default=FILE)
    options = parser.parse_args()
    text = "\n".join(report(read_table(options.table), options.table.name)) + "\n"
    print(text, end="")
    options.output.write_text(text)


if __name__ == "__main__":
    main()
