"""Retraining the trials that objectives would have chosen, by the protocol's last step."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import optuna
from rich.console import Console

from hpo_gn.checkpoint import Checkpoints
from hpo_gn.engine import choose_engine
from hpo_gn.errors import ArgumentError, StudyError
from hpo_gn.joining import PROTOCOL, try_out
from hpo_gn.protocol import SearchProtocol
from hpo_gn.recipe import RECIPE, from_recipe
from hpo_gn.retraining import WINNER_ALONE
from hpo_gn.worker import Place


@dataclass(frozen=True)
class Means:
    """With what to retrain, as of `hpo_gn.join`.

    Args:
        workers, workers_per_gpu, device: what trains.
        data_root: where this machine looks for data files.
        checkpoints: where this machine finds the search's checkpoints, if under another name.
    """

    workers: int | None = None
    workers_per_gpu: int | None = None
    device: str = "auto"
    data_root: Path | None = None
    checkpoints: str | None = None


def can_retrain(study: optuna.Study) -> bool:
    """Whether a study is that of a search whose trials can be retrained here."""
    return PROTOCOL in study.user_attrs and study.user_attrs.get(RECIPE) is not None


def retrain(storage: str, study: optuna.Study, trials: Sequence[int], means: Means, console: Console) -> None:
    """Retrain trials of a finished search on the full training set, with the same seeds as its winner was;
    what was begun before is continued.

    Args:
        storage: URL of the study's database.
        study: the search's.
        trials: their numbers.
        means: with what.
        console: where progress is shown.

    Raises:
        StudyError: the study is no search's, is made of Python objects, or is not over.
        HpoGnError: anything else that the caller can mend.
    """
    protocol = _protocol(storage, study, means)
    try_out(protocol.experiment)
    engine = choose_engine(
        protocol.experiment,
        workers=means.workers,
        workers_per_gpu=means.workers_per_gpu,
        device=means.device,
    )
    found = {trial.number: trial for trial in study.get_trials(deepcopy=False)}
    for number in trials:
        protocol.retrain(found[number], engine, console)
    protocol.place.checkpoints.discard()


def _protocol(storage: str, study: optuna.Study, means: Means) -> SearchProtocol:
    name, about = study.study_name, study.user_attrs.get(PROTOCOL)
    if about is None:
        raise StudyError(f"study {name!r} was not made by a search, so nothing can be retrained")
    if study.user_attrs.get(RECIPE) is None:
        raise StudyError(
            f"study {name!r} was made of Python objects, so nothing can be retrained from it alone"
        )
    if not about["done"]:
        raise StudyError(f"study {name!r} is not over: end its search before retraining other choices")
    if means.checkpoints is None and "***" in about["checkpoints"]:
        raise ArgumentError("checkpoints", f"given, with its password: {about['checkpoints']}", None)
    # Not among the search's own, which whoever extends the search must find as it left them.
    kept = Checkpoints(f"{(means.checkpoints or about['checkpoints']).rstrip('/')}-of-report")
    return SearchProtocol(
        from_recipe(study.user_attrs[RECIPE], data_root=means.data_root),
        Place(storage, name, kept, about["lease_s"]),
        about["seeds"],
        include_retraining=False,
        roles=WINNER_ALONE,
    )
