"""hpo-gn record."""

from pathlib import Path
from typing import Annotated

import typer

from hpo_gn.commands import options
from hpo_gn.errors import ArgumentError
from hpo_gn.joining import find_study
from hpo_gn.recorded import RecordedTable
from hpo_gn.recorded import record as record_study
from hpo_gn.studies import EXPERIMENT

_SUFFIX = ".jsonl.gz"


def record(
    file: Annotated[Path, typer.Argument(help=f"Where the table goes, {_SUFFIX}; it is replaced.")],
    *,
    storage: options.StorageOfSearch = None,
    study: options.Study = None,
    tests: Annotated[
        Path | None,
        typer.Option(
            help="More tests of runs, a line of JSON each: "
            '{"number": …, "test_accuracy": […], "test_loss": […], "failed": …}.'
        ),
    ] = None,
    command: Annotated[
        str | None, typer.Option(help="What made the runs, for the header. By default the search's settings.")
    ] = None,
) -> None:
    """Write what a search's trainings measured into one small file, in which other searches can be replayed.

    A search of random configurations without a pruner serves best. One that still runs is recorded as far as
    it has come; nothing of it is changed.
    """
    if not file.name.endswith(_SUFFIX):
        raise ArgumentError("FILE", f"a name that ends in {_SUFFIX}", file.name)
    url = options.storage_of(storage)
    made_by = command or _settings(url, study)
    table = record_study(url, study, file, command=made_by, tests=tests)
    typer.echo(f"{file}: {_described(table)}, {file.stat().st_size:,} bytes")


def _settings(storage: str, study: str | None) -> str:
    """The settings of a search that a researcher looks for first, as `hpo-gn search` takes them."""
    made = find_study(storage, study).user_attrs[EXPERIMENT]
    names = ("data", "model", "searcher", "pruner", "epochs", "fraction", "validation_fraction", "seed")
    given = [f"--{name.replace('_', '-')} {made[name]}" for name in names if made.get(name) is not None]
    return " ".join(["hpo-gn search", *given])


def _described(table: RecordedTable) -> str:
    diverged = sum(not run.completed for run in table.runs)
    tested = sum(run.tested for run in table.runs)
    return f"{len(table.runs)} runs, {diverged} of them diverged, {tested} with test results"
