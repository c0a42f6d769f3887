"""Joining a search from anywhere: what a study says of itself, and workers that know nothing but its
storage.
"""

import time
import uuid
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import torch
from rich.console import Console

from hpo_gn.budget import Ledger
from hpo_gn.checkpoint import Checkpoints
from hpo_gn.database_url import parse_database_url, shown
from hpo_gn.engine import choose_engine
from hpo_gn.errors import ArgumentError, StorageError, StudyError, UnknownNameError
from hpo_gn.experiment import Experiment
from hpo_gn.failures import explained
from hpo_gn.protocol import SearchProtocol
from hpo_gn.recipe import RECIPE, from_recipe, to_recipe
from hpo_gn.retraining import ROLES, find_winner
from hpo_gn.storage import open_storage, patiently
from hpo_gn.studies import open_study
from hpo_gn.worker import Place

PROTOCOL = "hpo_gn:protocol"
"""Study attribute: what else a worker must know."""

_POLL_S = 1.0


def try_out(experiment: Experiment) -> str:
    """Read the data and build one training and the pruner before anything is written or claimed, so that
    mistakes show at once and fail no trial; the data's fingerprint.
    """
    experiment.stopping()
    splits = experiment.splits("search", torch.device("cpu"))
    with explained("the initial settings cannot be trained"):
        experiment.build(experiment.initial, splits, epochs=experiment.epochs, seed=0)
    return splits.fingerprint


def announce(protocol: SearchProtocol, fingerprint: str, limit: int) -> None:
    """Make a search's study, or open it, and say there what workers that join must know.

    Args:
        protocol: the search's.
        fingerprint: of its data.
        limit: the search's GPU×epochs.

    Raises:
        HpoGnError: the study is another experiment's, or its checkpoints are out of reach.
    """
    place = protocol.place
    study = open_study(place, protocol.experiment, fingerprint)
    _check_limit(study, protocol, limit)
    # Whoever finds the announcement finds an account, too.
    ledger = Ledger(place.storage, place.study, limit=limit, lease_s=place.lease_s)
    try:
        while not _announced(study, protocol, limit, ledger):
            time.sleep(_POLL_S)
    finally:
        ledger.close()


def _announced(study: optuna.Study, protocol: SearchProtocol, limit: int, ledger: Ledger) -> bool:
    """One at a time: of two searches that begin at once, the second finds the first's mark."""
    with ledger.turn() as turn:
        if turn is not None:
            _announce(study, protocol, limit)
        return turn is not None


def _announce(study: optuna.Study, protocol: SearchProtocol, limit: int) -> None:
    place = protocol.place
    about = {
        "seeds": protocol.seeds,
        "include_retraining": protocol.include_retraining,
        "roles": protocol.roles,
        "checkpoints": str(place.checkpoints),
        "token": _claimed(study, place),
        "lease_s": place.lease_s,
        "limit": limit,
        "done": False,
    }
    study.set_user_attr(RECIPE, to_recipe(protocol.experiment))
    study.set_user_attr(PROTOCOL, about)


def _check_limit(study: optuna.Study, protocol: SearchProtocol, limit: int) -> None:
    """A budget that paid for a retraining stays: with another, another winner's would have to be paid too."""
    before = study.user_attrs.get(PROTOCOL)
    if protocol.include_retraining and before is not None and before["done"] and before["limit"] != limit:
        was = before["limit"] + protocol.held_back
        raise ArgumentError(
            "budget", f"the {was} that paid for a retraining already", limit + protocol.held_back
        )


def _claimed(study: optuna.Study, place: Place) -> str:
    """The token that marks the study's checkpoints, so that whoever sees others, or none, finds out."""
    before = study.user_attrs.get(PROTOCOL)
    if before is not None and not before["done"]:
        place.checkpoints.claim(before["token"])  # somebody may have removed them all
        place.checkpoints.check(before["token"])
        return str(before["token"])
    token = uuid.uuid4().hex
    place.checkpoints.begin(token)
    return token


def conclude(study: optuna.Study) -> None:
    """Say that nothing is left to do, so that workers that come late leave at once."""
    study.set_user_attr(PROTOCOL, study.user_attrs[PROTOCOL] | {"done": True})


def join(
    storage: str,
    study: str | None = None,
    *,
    experiment: Experiment | None = None,
    workers: int | None = None,
    workers_per_gpu: int | None = None,
    device: str = "auto",
    checkpoints: str | None = None,
    data_root: Path | None = None,
    wait_s: float = 0.0,
    console: Console | None = None,
) -> str:
    """Work on a search that was begun elsewhere, until there is nothing more to do; any number may, and leave
    and come back at any time.

    Args:
        storage: URL of the search's database.
        study: the search's name; None for the only one there.
        experiment: the search's, where it was made of Python objects and cannot be read off the study.
        workers, workers_per_gpu, device: as in `search`.
        checkpoints: where this machine finds the search's checkpoints, if under another name.
        data_root: where this machine looks for data files.
        wait_s: for so many seconds, wait for the search to begin.
        console: where to show progress; with None nothing is shown.

    Returns:
        The study's name.

    Raises:
        HpoGnError: anything that the caller can mend, in one line.
        KeyboardInterrupt: after Ctrl-C; nothing is left held.
    """
    found = _wait_for(storage, study, wait_s)
    if found.user_attrs[PROTOCOL]["done"]:
        return found.study_name
    protocol = _protocol(found, storage, experiment, checkpoints, data_root)
    try_out(protocol.experiment)
    engine = choose_engine(
        protocol.experiment, workers=workers, workers_per_gpu=workers_per_gpu, device=device
    )
    console = console or Console(quiet=True)
    searched = protocol.search(engine, console)
    # The command that began the search may have been repeated with other seeds meanwhile.
    now = patiently(lambda: find_study(storage, found.study_name).user_attrs[PROTOCOL])
    if not now["done"]:
        again = replace(protocol, **_retraining(now))
        winner = patiently(lambda: find_winner(searched.study, protocol.experiment.objective))
        again.retrain(winner, engine, console)
    return found.study_name


def find_study(storage: str, study: str | None = None) -> optuna.Study:
    """A search's study in a database; without a name, the only one.

    Raises:
        UnknownNameError: no search there has the name.
        StudyError: the study there was not made by a search, or there are several and no name is given.
        StorageError: the database cannot be opened, or holds no search.
    """
    url = parse_database_url("storage", storage)
    if url.get_backend_name() == "sqlite" and not Path(str(url.database)).exists():
        raise StorageError(f"there is no database {shown(url)}")
    opened = open_storage(storage, create=False)
    everything = {each.study_name: each for each in opened.get_all_studies()}
    searches = [name for name, each in everything.items() if PROTOCOL in each.user_attrs]
    if study is None and len(searches) > 1:
        raise StudyError(f"{shown(url)} holds several searches; name one: {', '.join(sorted(searches))}")
    if not searches:
        raise StorageError(f"{shown(url)} holds no search")
    name = searches[0] if study is None else study
    if name not in everything:
        raise UnknownNameError("search", name, searches)
    if name not in searches:
        raise StudyError(f"study {name!r} was not made by a search")
    return optuna.load_study(study_name=name, storage=opened)


def _wait_for(storage: str, study: str | None, wait_s: float) -> optuna.Study:
    end = time.monotonic() + wait_s
    while True:
        try:
            return find_study(storage, study)
        except (StorageError, UnknownNameError):
            if time.monotonic() >= end:
                raise
        time.sleep(_POLL_S)


def _protocol(
    study: optuna.Study,
    storage: str,
    experiment: Experiment | None,
    checkpoints: str | None,
    data_root: Path | None,
) -> SearchProtocol:
    about: Mapping[str, Any] = study.user_attrs[PROTOCOL]
    recipe = study.user_attrs[RECIPE]
    if experiment is None and recipe is None:
        raise StudyError(
            f"study {study.study_name!r} was made of Python objects: join it by hpo_gn.join(experiment=…)"
        )
    if checkpoints is None and "***" in about["checkpoints"]:
        raise ArgumentError("checkpoints", f"given, with its password: {about['checkpoints']}", None)
    kept = Checkpoints(checkpoints or about["checkpoints"])
    kept.check(about["token"])
    return SearchProtocol(
        experiment or from_recipe(recipe, data_root=data_root),
        Place(storage, study.study_name, kept, about["lease_s"]),
        **_retraining(about),
    )


def _retraining(about: Mapping[str, Any]) -> dict[str, Any]:
    """What an announcement says of the retraining; older ones say nothing of its roles."""
    return {
        "seeds": about["seeds"],
        "include_retraining": about["include_retraining"],
        "roles": tuple(about.get("roles", ROLES)),
    }
