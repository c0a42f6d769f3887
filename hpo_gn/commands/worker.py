"""hpo-gn worker."""

from typing import Annotated

import typer
from rich.console import Console

from hpo_gn.commands import options
from hpo_gn.joining import join


def worker(
    *,
    storage: options.StorageOfSearch = None,
    study: options.Study = None,
    workers: options.Workers = None,
    workers_per_gpu: options.WorkersPerGpu = None,
    device: options.Device = "auto",
    checkpoints: Annotated[
        str | None,
        typer.Option(help="Where this machine finds the search's checkpoints, if under another name."),
    ] = None,
    data_root: options.DataRoot = None,
    wait: Annotated[float, typer.Option(min=0.0, help="Seconds to wait for the search to begin.")] = 0.0,
) -> None:
    """Work on a search that was begun elsewhere, until there is nothing more to do.

    Any number of workers may, on any machine that reaches the storage, and leave (Ctrl-C, SIGTERM) and come
    back at any time.
    """
    name = join(
        options.storage_of(storage),
        study,
        workers=workers,
        workers_per_gpu=workers_per_gpu,
        device=device,
        checkpoints=checkpoints,
        data_root=data_root,
        wait_s=wait,
        console=Console(stderr=True),
    )
    typer.echo(f"{name} is done; the command that began it shows the result.")
