"""hpo-gn compare."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from hpo_gn.commands import options, terminal
from hpo_gn.comparison.cells import Cell, make_cells, pick
from hpo_gn.comparison.comparison import Comparison, write_results
from hpo_gn.comparison.report import write_report
from hpo_gn.comparison.result import CellResult
from hpo_gn.comparison.spec import Spec, read_spec
from hpo_gn.comparison.store import CellState
from hpo_gn.database_url import parse_database_url, shown, sqlite_url
from hpo_gn.errors import ArgumentError
from hpo_gn.file_store import as_component
from hpo_gn.gpus import assign, devices

SpecFile = Annotated[Path, typer.Argument(metavar="SPEC.yaml", help="The comparison's specification.")]


def compare(
    spec_file: SpecFile,
    *,
    only: Annotated[list[str] | None, typer.Option(help="Run this cell alone; may be repeated.")] = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Cells that run at once. By default as many as there are cores, or GPUs."),
    ] = None,
    device: options.Device = "auto",
    storage: options.Storage = None,
    output: Annotated[
        Path | None, typer.Option(help="Folder of the results and the page. By default runs/<name>.")
    ] = None,
    checkpoints: Annotated[
        str | None,
        typer.Option(
            help="Folder or fsspec URL of checkpoints, within the reach of every machine that works on the "
            "comparison. By default in the output folder."
        ),
    ] = None,
    data_root: options.DataRoot = None,
    lease: Annotated[float, typer.Option(help="Seconds after which a silent process counts as dead.")] = 60.0,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Run cells that failed anew.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Start however long it takes.")] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Run nothing: list the cells, and what runs the open ones."),
    ] = False,
) -> None:
    """Compare objectives, searchers and pruners over models, data and seeds, at one budget.

    Every combination is a cell: a search, its winner retrained and tested. Repeating the command goes on
    where it stopped, and helps where it runs already.
    """
    if workers is not None and workers < 1:
        raise ArgumentError("workers", "1 or more", workers)
    spec = read_spec(spec_file)
    folder = output or Path("runs") / as_component(spec.name)
    cells = make_cells(spec, _repeated(storage, output), data_root=data_root)
    chosen = pick(cells, only or [])
    comparison = Comparison(
        spec=spec,
        cells=cells,
        storage=storage or sqlite_url(folder / "study.db"),
        output=folder,
        devices=[] if dry_run else _devices(device, workers, spec.threads),
        checkpoints=checkpoints,
        lease_s=lease,
        console=Console(stderr=True),
    )
    if dry_run:
        _list(comparison.store.read(chosen))
        return
    troubles = comparison.run(chosen, sure=yes, retry_failed=retry_failed)
    results = comparison.results()
    missing = [cell for cell in cells if cell.name not in results]
    for name, reason in troubles.items():
        typer.echo(f"hpo-gn: cell {name} has no result: {reason}", err=True)
    finish(spec, list(results.values()), folder, missing)
    if troubles:
        raise typer.Exit(1)


def finish(spec: Spec, results: Sequence[CellResult], folder: Path, missing: Sequence[Cell] = ()) -> None:
    """Keep results, write their page, and say where it is and what is missing.

    Args:
        spec: of the comparison.
        results: in the cells' order.
        folder: where.
        missing: cells without a result.
    """
    write_results(results, folder)
    if any(each.labels.objective == spec.baseline for each in results):
        page, short = write_report(
            results,
            folder,
            spec.name,
            baseline=spec.baseline,
            missing=[cell.command for cell in missing],
        )
        terminal.output(_WIDTH, markup=False, emoji=False, highlight=False).print(short)
        typer.echo(page)
    else:
        typer.echo(f"No page yet: no cell of the baseline {spec.baseline} has a result.")
    if missing:
        typer.echo(f"{len(missing)} cells have no result; what runs them:")
        for cell in missing[:_MOST_LINES]:
            typer.echo(f"  {cell.command}")
        if len(missing) > _MOST_LINES:
            typer.echo("  … (--dry-run lists them all)")


_MOST_LINES = 20
_WIDTH = 120


def _repeated(storage: str | None, output: Path | None) -> list[str]:
    """The command and what it needs to find the same cells; a storage with a password stays in its
    environment variable.
    """
    command = ["hpo-gn", "compare"]
    if storage is not None and "***" not in (said := shown(parse_database_url("storage", storage))):
        command += ["--storage", said]
    return [*command, "--output", str(output)] if output else command


def _devices(device: str, workers: int | None, threads: int) -> list[str]:
    there = devices(device)
    if workers is None:
        workers = len(there) if there[0].type != "cpu" else max(1, (os.cpu_count() or 1) // threads)
    return [str(each) for each in assign(workers, there)]


def _list(states: Sequence[CellState]) -> None:
    table = Table("cell", "state", box=None, pad_edge=False, header_style="bold")
    for each in states:
        failure = each.result.failure if each.result else None
        table.add_row(each.cell.name, each.state + (f": {failure}" if failure else ""))
    Console(markup=False, emoji=False, highlight=False).print(table)
    missing = [each.cell for each in states if each.result is None]
    typer.echo(f"{len(states)} cells, {len(missing)} without a result{':' if missing else '.'}")
    for cell in missing:
        typer.echo(f"  {cell.command}")
