"""hpo-gn report."""

import webbrowser
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from hpo_gn.commands import options
from hpo_gn.database_url import sqlite_url
from hpo_gn.errors import ArgumentError
from hpo_gn.page.report import report_study
from hpo_gn.page.retrain import Means


def report(
    study: Annotated[
        str | None,
        typer.Argument(
            metavar="STUDY",
            show_default=False,
            help="The study's name, or the folder of a search. By default the only one there.",
        ),
    ] = None,
    *,
    storage: options.StorageOfSearch = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Folder of report.html, .md and .tex. By default beside the study's database."),
    ] = None,
    retrain: Annotated[
        bool,
        typer.Option(
            "--retrain",
            help="First train what other objectives would have chosen on the full training set, as far as "
            "that is missing.",
        ),
    ] = False,
    workers: options.Workers = None,
    workers_per_gpu: options.WorkersPerGpu = None,
    device: options.Device = "auto",
    checkpoints: Annotated[
        str | None,
        typer.Option(help="With --retrain: a place for its checkpoints, if not the search's own."),
    ] = None,
    data_root: options.DataRoot = None,
    open_page: Annotated[
        bool, typer.Option("--open/--no-open", help="Show the page in the browser.")
    ] = False,
) -> None:
    """Write a page of a study: whether the extra signal helped, what each objective would have chosen, what
    was spent, and how the measures go with generalization.

    The page is one HTML file that needs no network; its tables are beside it in Markdown and LaTeX. The study
    may be running, or anybody's whose trials have a History.
    """
    given = {"workers": workers, "workers_per_gpu": workers_per_gpu, "checkpoints": checkpoints}
    for name, value in given.items():
        if value is not None and not retrain:
            raise ArgumentError(name, "left out, unless --retrain is given", value)
    means = Means(workers, workers_per_gpu, device, data_root, checkpoints) if retrain else None
    if study is not None and (database := Path(study) / "study.db").exists():
        storage, study = sqlite_url(database), None
    written = report_study(
        options.storage_of(storage), study, folder=output, means=means, console=Console(stderr=True)
    )
    typer.echo(written.verdict)
    typer.echo(written.page)
    if open_page:
        webbrowser.open(written.page.absolute().as_uri())
