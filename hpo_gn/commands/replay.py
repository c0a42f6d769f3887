"""hpo-gn replay."""

import time
from dataclasses import replace as changed
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from hpo_gn.commands.compare import SpecFile, finish
from hpo_gn.comparison.cells import make_cells
from hpo_gn.comparison.replaying import replay_cells
from hpo_gn.comparison.spec import MOST_SEEDS, read_spec, said_of
from hpo_gn.durations import format_clock
from hpo_gn.errors import ArgumentError, HpoGnError
from hpo_gn.file_store import as_component


def replay(
    spec_file: SpecFile,
    *,
    seeds: Annotated[
        int | None, typer.Option(help="So many seeds, from 0, instead of the specification's.")
    ] = None,
    budget: Annotated[
        int | None, typer.Option(help="GPU×epochs of each search, instead of the specification's.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes; results do not depend on it.")] = 2,
    output: Annotated[
        Path | None, typer.Option(help="Folder of the results and the page. By default runs/<name>-replay.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Start however long it takes.")] = False,
) -> None:
    """Run a comparison on a recorded table: no training, hundreds of seeds in a minute.

    Every proposed configuration is taken for the nearest recorded one.
    """
    for name, value in {"seeds": seeds, "budget": budget, "workers": workers}.items():
        if value is not None and value < 1:
            raise ArgumentError(name, "1 or more", value)
    if seeds is not None and seeds > MOST_SEEDS:
        raise ArgumentError("seeds", f"at most {MOST_SEEDS:,}", seeds)
    spec = read_spec(spec_file)
    if seeds is not None:
        spec = changed(spec, seeds=tuple(range(seeds)))
    if budget is not None:
        spec = changed(spec, budget=budget)
    with said_of(spec_file):
        if spec.table is None:
            raise HpoGnError("table is missing: the recorded runs to replay on, which hpo-gn record makes")
        if len(spec.data) * len(spec.models) > 1:
            raise HpoGnError("a replay is of one model and one data set, since one table is")
    cells = make_cells(spec)
    folder = output or Path("runs") / f"{as_component(spec.name)}-replay"
    began = time.monotonic()
    with said_of(spec_file):
        results = replay_cells(
            cells,
            spec.table,
            folder,
            budget=spec.budget,
            workers=workers,
            console=Console(stderr=True),
            sure=yes,
        )
    typer.echo(f"{len(results):,} replays in {format_clock(time.monotonic() - began)}.", err=True)
    finish(spec, results, folder)
