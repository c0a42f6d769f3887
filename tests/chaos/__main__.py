"""`python -m tests.chaos`: every scenario at full size, on SQLite and on a real PostgreSQL server.

Run as a whole it writes benchmarks/results/chaos.txt, too.
"""

import argparse
import dataclasses
import importlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from benchmarks.machine import machine
from tests.chaos import crashes, dead_holds, kills, model, stops
from tests.chaos.databases import Databases, SQLite, running_postgresql
from tests.chaos.processes import on_stage

RESULTS = Path(__file__).parents[2] / "benchmarks/results/chaos.txt"
LEDGER = {"kills": kills, "crashes": crashes, "dead-holds": dead_holds, "stops": stops}
"""Scenarios that run on each kind of database."""
NAMES = (*LEDGER, "model", "saving", "resume", "specs")
KINDS = ("sqlite", "postgresql")

Block = tuple[str, str, list[str]]
"""What ran where at which sizes, the verdict, and the figures."""


@contextmanager
def databases_of(kind: str) -> Iterator[Databases]:
    """Databases of one kind."""
    if kind == "postgresql":
        with running_postgresql() as server:
            yield server
    else:
        with tempfile.TemporaryDirectory() as folder:
            yield SQLite(Path(folder))


def on_database(name: str, kind: str, short: bool) -> Block:
    """A scenario of the ledger on one kind of database."""
    sizes = sizes_of(LEDGER[name], short)
    with databases_of(kind) as databases:
        found = on_stage(LEDGER[name].scenario, databases, sizes)
        return f"{name}, {databases.name}; {shown(sizes)}", found.verdict, list(found.lines())


def against_model(short: bool) -> Block:
    """The ledger against its model."""
    sizes = sizes_of(model, short)
    found = on_stage(model.scenario, sizes)
    return f"model, {SQLite.name}; {shown(sizes)}", found.verdict, list(found.lines())


def with_figures(name: str, short: bool) -> Block:
    """A scenario that is not about the ledger; its figures say themselves what held."""

    def figures() -> dict[str, str]:
        module = importlib.import_module(f"tests.chaos.{name}")
        return dict(module.figures(long=not short))

    return name, "figures", [f"{what}: {came}" for what, came in on_stage(figures).items()]


def sizes_of(module: ModuleType, short: bool) -> Any:
    """The long form's sizes, or those of the tests."""
    return module.SHORT if short else module.Sizes()


def shown(sizes: Any) -> str:
    """Sizes as a reader wants them."""
    return ", ".join(f"{name} {value:,}" for name, value in dataclasses.asdict(sizes).items())


def chosen(only: Sequence[str], kinds: Sequence[str], short: bool) -> Iterator[Callable[[], Block]]:
    """The scenarios to run."""
    for name in only:
        if name in LEDGER:
            yield from (partial(on_database, name, kind, short) for kind in kinds)
        else:
            yield partial(against_model, short) if name == "model" else partial(with_figures, name, short)


def header() -> str:
    """What was run, and where."""
    command = f"python -m tests.chaos {' '.join(sys.argv[1:])}".rstrip()
    return f"What the ledger and the checkpoints survive\ncommand   {command}\n{machine()}"


def main() -> int:
    """Run, print, and write; 1 if a scenario does not hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--only", choices=NAMES, nargs="+", default=NAMES)
    parser.add_argument("--sqlite", dest="kinds", action="append_const", const="sqlite", help="alone")
    parser.add_argument("--postgresql", dest="kinds", action="append_const", const="postgresql", help="alone")
    parser.add_argument("--short", action="store_true", help="at the sizes of the tests")
    parser.add_argument("--output", type=Path, help="where to write; a whole run has its place")
    arguments = parser.parse_args()
    whole = tuple(arguments.only) == NAMES and not arguments.kinds and not arguments.short
    output = arguments.output or (RESULTS if whole else None)
    lines, verdicts = [header()], []
    print(lines[0], flush=True)
    for run in chosen(arguments.only, arguments.kinds or KINDS, arguments.short):
        began = time.monotonic()
        title, verdict, figures = run()
        title = f"{title}; {time.monotonic() - began:,.0f} s"
        block = "\n  ".join([f"\n{title}: {verdict}", *figures])
        print(block, flush=True)
        lines.append(block)
        verdicts.append(verdict)
        if output:  # each time, since the next may take long
            output.write_text("\n".join(lines) + "\n")
    return int(not {*verdicts} <= {"holds", "figures"})


if __name__ == "__main__":
    sys.exit(main())
