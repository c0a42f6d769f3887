"""A search from beginning to end: checked, run by the protocol, and its result written."""

import math
from collections import Counter
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial
from rich.console import Console

from hpo_gn.checkpoint import Checkpoints
from hpo_gn.database_url import parse_database_url, shown, sqlite_url
from hpo_gn.engine import choose_engine
from hpo_gn.errors import ArgumentError
from hpo_gn.experiment import Experiment
from hpo_gn.fidelity import Assignment
from hpo_gn.file_store import as_component
from hpo_gn.joining import announce, conclude, try_out
from hpo_gn.protocol import SearchProtocol, Stage
from hpo_gn.pruning import count_false_kills
from hpo_gn.result import Result
from hpo_gn.retraining import ROLES, WINNER_ALONE, collect, find_winner, keep_model
from hpo_gn.rounds import FIRST_SHARE
from hpo_gn.storage import open_storage, patiently
from hpo_gn.studies import default_name
from hpo_gn.worker import Place


def search(
    experiment: Experiment,
    *,
    budget: int,
    workers: int | None = None,
    workers_per_gpu: int | None = None,
    device: str = "auto",
    ray: str | None = None,
    gpus_per_trial: float | None = None,
    storage: str | None = None,
    study: str | None = None,
    output: str | Path | None = None,
    checkpoints: str | None = None,
    seeds: int = 3,
    compare_initial: bool = True,
    include_retraining: bool = False,
    lease_s: float = 60.0,
    console: Console | None = None,
) -> Result:
    """Spend a budget of GPU×epochs on a search, then retrain and test what it found and what it began with.

    Calling it again with the same experiment goes on where it stopped, or gives the result if it had ended. A
    larger budget extends the search. Workers elsewhere join it with `join` or `hpo-gn worker`.

    Args:
        experiment: what is searched.
        budget: in GPU×epochs. It is the search's, unless `include_retraining`.
        workers: processes on this machine; the results do not depend on it. With None as many as there are
            cores, or one on each GPU.
        workers_per_gpu: instead, processes on each GPU, as far as its memory lets them.
        device: "cpu", "cuda:1", …; "cuda" is every GPU, "auto" too if there is one.
        ray: address of a Ray cluster whose nodes run the trials, instead of this machine.
        gpus_per_trial: share of a GPU that a trial gets from Ray.
        storage: URL of a SQLite or PostgreSQL database; with None a file in the output folder.
        study: its name; with None one made from the experiment.
        output: where `best.yaml`, `result.json` and `model.pt` go; with None `runs/<study>`.
        checkpoints: folder or fsspec URL of the trials' checkpoints, within every worker's reach; with None
            in the output folder.
        seeds: retrainings of the winner, and of the initial settings.
        compare_initial: retrain the initial settings too, to see whether the search paid.
        include_retraining: hold the retraining's epochs back from the budget.
        lease_s: seconds after which a silent worker counts as dead.
        console: where to show progress; with None nothing is shown.

    Raises:
        HpoGnError: anything that the caller can mend, in one line.
        KeyboardInterrupt: after Ctrl-C; nothing is left held.
    """
    for name, value in (("budget", budget), ("seeds", seeds)):
        if value < 1:
            raise ArgumentError(name, "1 or more", value)
    name = study or default_name(experiment)
    folder = Path(output) if output else Path("runs") / as_component(name)
    kept = (
        Checkpoints(_everywhere(checkpoints)).at(name)
        if checkpoints
        else Checkpoints(folder.absolute() / "checkpoints")
    )
    place = Place(storage or sqlite_url(folder / "study.db"), name, kept, lease_s)
    roles = ROLES if compare_initial else WINNER_ALONE
    protocol = SearchProtocol(experiment, place, seeds, include_retraining, roles)
    check_budget(experiment, budget, protocol.held_back)
    if storage is not None:
        open_storage(storage)  # before anything is written
    engine = choose_engine(
        experiment,
        workers=workers,
        workers_per_gpu=workers_per_gpu,
        device=device,
        ray=ray,
        gpus_per_trial=gpus_per_trial,
    )
    fingerprint = try_out(experiment)
    folder.mkdir(parents=True, exist_ok=True)
    patiently(lambda: announce(protocol, fingerprint, budget - protocol.held_back))
    console = console or Console(quiet=True)
    found = protocol.search(engine, console)
    winner = patiently(lambda: find_winner(found.study, experiment.objective))
    retrained = protocol.retrain(winner, engine, console)
    weights = protocol.retraining_place(winner).checkpoints
    patiently(lambda: keep_model(retrained.study, weights, folder / "model.pt"))
    result = patiently(lambda: _result(protocol, winner, found, retrained))
    result.write(folder)
    patiently(lambda: conclude(found.study))
    kept.discard()
    return result


def _everywhere(checkpoints: str) -> str:
    """The same place, whatever folder a worker is started in."""
    return checkpoints if "://" in checkpoints else str(Path(checkpoints).absolute())


def check_budget(experiment: Experiment, budget: int, held_back: int = 0) -> None:
    """Refuse a budget that does not pay for one trial, and, where measuring is charged, for what a trial sets
    aside for that before anything was measured.

    Args:
        experiment: what would be searched.
        budget: in GPU×epochs.
        held_back: of it, for the retraining.

    Raises:
        ArgumentError: it is too small.
    """
    sampler = experiment.sampler()
    assign = getattr(sampler, "next_assignment", None)
    first = assign(optuna.create_study(sampler=sampler)) if assign else Assignment(experiment.epochs)
    share = FIRST_SHARE if experiment.charge == "measures" else 0
    least = math.ceil(first.epochs * experiment.gpus * (1 + share)) + held_back
    if budget < least:
        measured = " with their measuring" if share else ""
        retrained = " and the retraining's" if held_back else ""
        raise ArgumentError("budget", f"at least {least}, one trial's epochs{measured}{retrained}", budget)


def _result(protocol: SearchProtocol, winner: FrozenTrial, found: Stage, retrained: Stage) -> Result:
    experiment = protocol.experiment
    states = Counter(trial.state.name.lower() for trial in found.study.get_trials(deepcopy=False))
    return Result(
        study=protocol.place.study,
        storage=shown(parse_database_url("storage", protocol.place.storage)),
        objective=repr(experiment.objective),
        searcher=experiment.searcher,
        trial=winner.number,
        value=winner.values[0],
        epochs=experiment.epochs,
        trials=dict(sorted(states.items())),
        search=found.spent,
        retraining=retrained.spent,
        winner=collect(retrained.study, "winner", winner.params),
        initial=collect(retrained.study, "initial", experiment.initial)
        if "initial" in protocol.roles
        else None,
        pruner=experiment.pruner,
        false_kills=count_false_kills(found.study) if experiment.pruner else None,
    )
