"""The options that several commands share, and the experiment made from them."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from hpo_gn.database_url import sqlite_url
from hpo_gn.errors import ArgumentError
from hpo_gn.experiment import Experiment, make_objective
from hpo_gn.objectives.one_deviation import DEVIATION
from hpo_gn.registry import Kind, names
from hpo_gn.space import load_space, paper_space


def _names(kind: Kind) -> str:
    return ", ".join(names(kind))


Budget = Annotated[int, typer.Option(help="GPU×epochs that the search may spend.")]
Seeds = Annotated[int, typer.Option(help="Retrainings of the winner, and of the initial settings.")]
IncludeRetraining = Annotated[
    bool, typer.Option("--include-retraining", help="Hold the retraining's epochs back from the budget.")
]
Storage = Annotated[
    str | None,
    typer.Option(
        envvar="HPO_GN_STORAGE",
        show_envvar=True,
        help="URL of a SQLite or PostgreSQL database. By default a file in the output folder.",
    ),
]
StorageOfSearch = Annotated[
    str | None,
    typer.Option(
        envvar="HPO_GN_STORAGE",
        show_envvar=True,
        help="URL of the search's database. By default that of the only search under runs/.",
    ),
]
Study = Annotated[str | None, typer.Option(help="The search's name. By default the only one there.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, …; auto and cuda are every GPU.")]
Workers = Annotated[
    int | None,
    typer.Option(help="Processes; results do not depend on it. By default one a core, or one a GPU."),
]
WorkersPerGpu = Annotated[
    int | None,
    typer.Option(help="Instead of --workers: processes on each GPU, as far as its memory lets them."),
]
DataRoot = Annotated[Path | None, typer.Option(help="Where data files are looked for.")]


def storage_of(storage: str | None) -> str:
    """The URL that was given, else that of the only search under runs/.

    Raises:
        ArgumentError: nothing was given, and there is none or more than one.
    """
    if storage is not None:
        return storage
    found = sorted(Path("runs").glob("*/study.db"))
    if len(found) != 1:
        there = ", ".join(str(path.parent) for path in found) or "none"
        raise ArgumentError("storage", f"given, unless runs/ holds one search (there: {there})", None)
    return sqlite_url(found[0])


def make_experiment(
    *,
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
            help="How objectives with AGN read it: exact; sampled, from 1,000 random samples; "
            "or online, gathered in training. By default exact."
        ),
    ] = None,
    gated: Annotated[
        bool | None, typer.Option("--gated", help="Let AGN count only once a model is well fitted.")
    ] = None,
    deviation: Annotated[
        float | None,
        typer.Option(
            help="one-deviation: how far the validation loss varies with the seed, as a share of the best "
            f"loss. By default {DEVIATION:g}."
        ),
    ] = None,
    searcher: Annotated[str, typer.Option(help=f"{_names('searcher')}; or module:class.")] = "cma-es",
    pruner: Annotated[
        str | None,
        typer.Option(help=f"What gives up runs early: {_names('pruner')}; or module:class. By default none."),
    ] = None,
    signal: Annotated[
        str | None,
        typer.Option(
            help="give-up: what it looks at: value, the objective's; s-fv; or s-f, which needs no labels. "
            "By default value."
        ),
    ] = None,
    shadows: Annotated[
        float | None,
        typer.Option(
            help="Share of the runs given up that is trained to the end, as a check. By default 0.1."
        ),
    ] = None,
    false_kills: Annotated[
        float | None,
        typer.Option(
            help="give-up: bound the share of runs given up that would have ended among the best. "
            "Until the bound holds, nothing is given up."
        ),
    ] = None,
    epochs: Annotated[int, typer.Option(help="Epochs of a trial; with bohb, the most.")] = 8,
    min_epochs: Annotated[
        int | None, typer.Option(help="bohb: the fewest epochs. By default epochs / eta².")
    ] = None,
    eta: Annotated[int, typer.Option(help="bohb: the ratio between rungs.")] = 2,
    from_scratch: Annotated[
        bool, typer.Option("--from-scratch", help="bohb: train and charge promoted configurations anew.")
    ] = False,
    charge: Annotated[
        Literal["epochs", "measures"],
        typer.Option(help="What the budget pays: epochs alone, or measuring too, as shares of an epoch."),
    ] = "epochs",
    round_size: Annotated[int, typer.Option(help="Trials proposed together.")] = 8,
    fraction: Annotated[
        float, typer.Option(help="Share of the training set that the search trains on.")
    ] = 0.2,
    validation_fraction: Annotated[
        float, typer.Option(help="Share of the training set held out for validation.")
    ] = 0.1,
    seed: Annotated[int, typer.Option(help="Fixes every random number.")] = 0,
    threads: Annotated[int, typer.Option(help="CPU threads of each worker.")] = 1,
    mixed_precision: Annotated[
        bool, typer.Option("--mixed-precision", help="Train in bfloat16 where autocast does.")
    ] = False,
    channels_last: Annotated[
        bool, typer.Option("--channels-last", help="Keep images in channels-last order.")
    ] = False,
    data_root: DataRoot = None,
) -> Experiment:
    """The experiment that the options describe.

    Raises:
        HpoGnError: they describe none.
    """
    return Experiment(
        data=data,
        model=model if training else model or "mlp",
        training=training,
        space=load_space(space) if space else paper_space(),
        objective=make_objective(
            objective, alpha=alpha, normalized=normalized, agn=agn, gated=gated, deviation=deviation
        ),
        searcher=searcher,
        pruner=pruner,
        signal=signal,
        shadows=shadows,
        false_kills=false_kills,
        epochs=epochs,
        min_epochs=min_epochs,
        eta=eta,
        from_scratch=from_scratch,
        charge=charge,
        round_size=round_size,
        fraction=fraction,
        validation_fraction=validation_fraction,
        seed=seed,
        mixed_precision=mixed_precision,
        channels_last=channels_last,
        threads=threads,
        data_root=data_root,
    )


def of_experiment(command: Callable[..., None]) -> Callable[..., None]:
    """A command with the options of `make_experiment` before its own; it is given the experiment."""
    shared = inspect.signature(make_experiment).parameters
    own = inspect.signature(command).parameters

    def run(**options: Any) -> None:
        experiment = make_experiment(**{name: options.pop(name) for name in shared})
        command(experiment, **options)

    parameters = [*shared.values(), *(each for name, each in own.items() if name != "experiment")]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # typer reads it
    run.__doc__, run.__name__ = command.__doc__, command.__name__
    return run
