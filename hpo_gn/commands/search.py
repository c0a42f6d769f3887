"""hpo-gn search."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from hpo_gn.commands import options
from hpo_gn.experiment import Experiment
from hpo_gn.report import describe
from hpo_gn.search import search as run_search


@options.of_experiment
def search(
    experiment: Experiment,
    *,
    budget: options.Budget = 256,
    include_retraining: options.IncludeRetraining = False,
    seeds: options.Seeds = 3,
    workers: options.Workers = None,
    workers_per_gpu: options.WorkersPerGpu = None,
    device: options.Device = "auto",
    ray: Annotated[
        str | None,
        typer.Option(help="Address of a Ray cluster to run the trials on; auto is the one at hand."),
    ] = None,
    gpus_per_trial: Annotated[
        float | None, typer.Option(help="With --ray: share of a GPU that a trial gets. By default none.")
    ] = None,
    storage: options.Storage = None,
    study: Annotated[
        str | None,
        typer.Option(help="The study's name. By default made of data, model, objective and searcher."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Folder of best.yaml, result.json and model.pt. By default runs/<study>."),
    ] = None,
    checkpoints: Annotated[
        str | None,
        typer.Option(
            help="Folder or fsspec URL of checkpoints, within every worker's reach. By default in the "
            "output folder."
        ),
    ] = None,
    lease: Annotated[float, typer.Option(help="Seconds after which a silent worker counts as dead.")] = 60.0,
    json: Annotated[
        bool, typer.Option("--json", help="Print result.json on standard output, and nothing else there.")
    ] = False,
) -> None:
    """Search for hyperparameters, then retrain and test the winner beside the initial settings.

    Repeating the command goes on where it stopped.
    """
    result = run_search(
        experiment,
        budget=budget,
        workers=workers,
        workers_per_gpu=workers_per_gpu,
        device=device,
        ray=ray,
        gpus_per_trial=gpus_per_trial,
        storage=storage,
        study=study,
        output=output,
        checkpoints=checkpoints,
        seeds=seeds,
        include_retraining=include_retraining,
        lease_s=lease,
        console=Console(stderr=True),
    )
    if json:
        typer.echo(result.to_json())
    else:
        Console(markup=False, emoji=False).print(describe(result))
