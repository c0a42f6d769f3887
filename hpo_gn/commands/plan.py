"""hpo-gn plan."""

from typing import Annotated

import typer
from rich.console import Console

from hpo_gn.commands import options
from hpo_gn.experiment import Experiment
from hpo_gn.gpus import devices
from hpo_gn.plan import describe
from hpo_gn.plan import plan as make_plan
from hpo_gn.probe import PROBED_EPOCHS, probe
from hpo_gn.registry import names


@options.of_experiment
def plan(
    experiment: Experiment,
    *,
    budget: options.Budget = 256,
    include_retraining: options.IncludeRetraining = False,
    seeds: options.Seeds = 3,
    workers: Annotated[int, typer.Option(help="How many trials would run at once.")] = 1,
    device: options.Device = "auto",
    no_probe: Annotated[
        bool, typer.Option("--no-probe", help="Train nothing, and say nothing of time.")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print the plan as JSON on standard output, nothing else there.")
    ] = False,
) -> None:
    """Show what each searcher would do with a budget, before anything runs.

    The options are those of hpo-gn search. For the times, the initial settings are trained for two epochs.
    """
    messages = Console(stderr=True)
    chosen = sorted({*names("searcher"), experiment.searcher})
    probed = None
    if not no_probe:
        where = devices(device)[0]
        with messages.status(f"training the initial settings for {PROBED_EPOCHS} epochs on {where} …"):
            probed = probe(experiment, where)
    planned = make_plan(
        experiment,
        budget=budget,
        seeds=seeds,
        include_retraining=include_retraining,
        searchers=chosen,
        probe=probed,
        workers=workers,
    )
    if json:
        typer.echo(planned.to_json())
    else:
        Console(markup=False, emoji=False).print(describe(planned))
