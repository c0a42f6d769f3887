"""The command hpo-gn."""

import sys
from pathlib import Path
from typing import Annotated

import optuna
import typer
from rich.console import Console

from hpo_gn import __version__
from hpo_gn.allocator import keep_freed_memory
from hpo_gn.errors import HpoGnError
from hpo_gn.experiment import Experiment, make_objective
from hpo_gn.registry import Kind, names
from hpo_gn.report import describe
from hpo_gn.search import search as run_search
from hpo_gn.space import load_space, paper_space

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


def _names(kind: Kind) -> str:
    return ", ".join(names(kind))


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"hpo-gn {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Hyperparameter optimization of PyTorch models under a GPU×epoch budget."""


@app.command()
def search(
    data: Annotated[
        str, typer.Option(help=f"{_names('data set')}; a .npz file; or module:function.")
    ] = "digits",
    model: Annotated[
        str | None, typer.Option(help=f"{_names('model')}; or module:function. By default mlp.")
    ] = None,
    training: Annotated[
        str | None, typer.Option(help="Instead of a model: module:function that builds a Training.")
    ] = None,
    space: Annotated[
        Path | None,
        typer.Option(help="Search space, ConfigSpace's YAML or JSON. By default the AGN paper's."),
    ] = None,
    objective: Annotated[str, typer.Option(help=f"{_names('objective')}.")] = "val-loss",
    alpha: Annotated[float | None, typer.Option(help="Weight of AGN in agn-train and agn-val.")] = None,
    normalized: Annotated[
        bool | None, typer.Option("--normalized", help="Divide AGN by the epochs so far.")
    ] = None,
    agn: Annotated[
        str | None,
        typer.Option(
            help="How agn-train and agn-val read AGN: exact; sampled, from 1,000 random samples; "
            "or online, gathered in training. By default exact."
        ),
    ] = None,
    searcher: Annotated[str, typer.Option(help=f"{_names('searcher')}; or module:class.")] = "cma-es",
    budget: Annotated[int, typer.Option(help="GPU×epochs that the search may spend.")] = 256,
    epochs: Annotated[int, typer.Option(help="Epochs of a trial; with bohb, the most.")] = 8,
    min_epochs: Annotated[
        int | None, typer.Option(help="bohb: the fewest epochs. By default epochs / eta².")
    ] = None,
    eta: Annotated[int, typer.Option(help="bohb: the ratio between rungs.")] = 2,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="bohb: train and charge promoted configurations anew.")
    ] = False,
    round_size: Annotated[int, typer.Option(help="Trials proposed together.")] = 8,
    fraction: Annotated[
        float, typer.Option(help="Share of the training set that the search trains on.")
    ] = 0.2,
    validation_fraction: Annotated[
        float, typer.Option(help="Share of the training set held out for validation.")
    ] = 0.1,
    include_retraining: Annotated[
        bool, typer.Option("--include-retraining", help="Hold the retraining's epochs back from the budget.")
    ] = False,
    seeds: Annotated[int, typer.Option(help="Retrainings of the winner, and of the initial settings.")] = 3,
    seed: Annotated[int, typer.Option(help="Fixes every random number.")] = 0,
    workers: Annotated[
        int | None,
        typer.Option(help="Processes; results do not depend on it. By default one a core, or one on a GPU."),
    ] = None,
    threads: Annotated[int, typer.Option(help="CPU threads of each worker.")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, …")] = "auto",
    mixed_precision: Annotated[
        bool, typer.Option("--mixed-precision", help="Train in bfloat16 where autocast does.")
    ] = False,
    channels_last: Annotated[
        bool, typer.Option("--channels-last", help="Keep images in channels-last order.")
    ] = False,
    storage: Annotated[
        str | None,
        typer.Option(help="URL of a SQLite or PostgreSQL database. By default a file in the output folder."),
    ] = None,
    study: Annotated[
        str | None,
        typer.Option(help="The study's name. By default made of data, model, objective and searcher."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(help="Folder of best.yaml, result.json and model.pt. By default runs/<study>."),
    ] = None,
    data_root: Annotated[Path | None, typer.Option(help="Where data files are looked for.")] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print result.json on standard output, and nothing else there.")
    ] = False,
) -> None:
    """Search for hyperparameters, then retrain and test the winner beside the initial settings.

    Repeating the command goes on where it stopped.
    """
    # Ours is the only voice: Optuna logs every trial, and the progress shows them.
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    keep_freed_memory()
    progress = Console(stderr=True)
    sys.path.insert(0, "")  # module:function of the folder the command is run in
    try:
        experiment = Experiment(
            data=data,
            model=model if training else model or "mlp",
            training=training,
            space=load_space(space) if space else paper_space(),
            objective=make_objective(objective, alpha=alpha, normalized=normalized, agn=agn),
            searcher=searcher,
            epochs=epochs,
            min_epochs=min_epochs,
            eta=eta,
            from_scratch=from_scratch,
            round_size=round_size,
            fraction=fraction,
            validation_fraction=validation_fraction,
            seed=seed,
            mixed_precision=mixed_precision,
            channels_last=channels_last,
            threads=threads,
            data_root=data_root,
        )
        result = run_search(
            experiment,
            budget=budget,
            workers=workers,
            device=device,
            storage=storage,
            study=study,
            output=output,
            seeds=seeds,
            include_retraining=include_retraining,
            console=progress,
        )
    except HpoGnError as error:
        typer.echo(f"hpo-gn: {error}", err=True)
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        typer.echo("hpo-gn: stopped; nothing is held. Repeat the command to go on.", err=True)
        raise typer.Exit(130) from None
    if json:
        typer.echo(result.to_json())
    else:
        Console().print(describe(result))


if __name__ == "__main__":
    app()
