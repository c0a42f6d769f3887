"""A search's study: its name, its folder, and whether it is this experiment's."""

import json

import optuna

from hpo_gn.errors import DataError, StudyError
from hpo_gn.experiment import Experiment
from hpo_gn.storage import open_storage
from hpo_gn.worker import FINGERPRINT, Place

EXPERIMENT = "hpo_gn:experiment"
"""Study attribute: the experiment's identity as JSON."""


def default_name(experiment: Experiment) -> str:
    """A study's name made from its data, model, objective, searcher and pruner."""
    identity = experiment.identity()
    objective = type(experiment.objective).__name__
    parts = identity["data"], identity["model"], objective, experiment.searcher, experiment.pruner
    return "-".join(part for part in parts if part).lower()


def open_study(place: Place, experiment: Experiment, fingerprint: str | None = None) -> optuna.Study:
    """The study at a place, made if there is none.

    Args:
        place: where it is.
        experiment: what it is of.
        fingerprint: of the data it is made with.

    Raises:
        StudyError: the study there was made by something else, or by another experiment.
        DataError: it was made with other data.
        StorageError: the storage cannot be opened.
    """
    storage = open_storage(place.storage)
    study = optuna.create_study(study_name=place.study, storage=storage, load_if_exists=True)
    _check_experiment(study, experiment)
    if fingerprint is not None:
        if study.user_attrs.get(FINGERPRINT, fingerprint) != fingerprint:
            raise DataError(f"the data are not those that study {place.study!r} was made with")
        study.set_user_attr(FINGERPRINT, fingerprint)
    return study


def _check_experiment(study: optuna.Study, experiment: Experiment) -> None:
    now = json.loads(json.dumps(experiment.identity()))
    before = study.user_attrs.get(EXPERIMENT)
    if before is None and study.get_trials(deepcopy=False):
        raise StudyError(f"study {study.study_name!r} was not made by a search; choose another name")
    if before is None:
        study.set_user_attr(EXPERIMENT, now)
        return
    for key in now:
        if before.get(key) != now[key]:
            made = f"study {study.study_name!r} was made with {key} {before.get(key)!r}, not {now[key]!r}"
            raise StudyError(f"{made}; choose another name")
