"""Reading a study and its ledger from a database for its page; nothing is written to either."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import optuna

from hpo_gn.database_url import parse_database_url, shown
from hpo_gn.errors import HpoGnError, StorageError, StudyError, UnknownNameError
from hpo_gn.joining import PROTOCOL
from hpo_gn.page.study import TrialCost
from hpo_gn.retraining import retraining_name
from hpo_gn.status import Status, read_status
from hpo_gn.storage import open_storage, patiently


@contextmanager
def opened_study(storage: str, study: str | None = None) -> Iterator[optuna.Study]:
    """A study in a database, anybody's; its connections are closed on leaving.

    Args:
        storage: URL of the database.
        study: the study's name; None for the only search there, or else the only study.

    Raises:
        UnknownNameError: no study there has the name.
        StudyError: there are several, and no name is given.
        StorageError: the database cannot be opened, or holds no study.
    """
    url = parse_database_url("storage", storage)
    if url.get_backend_name() == "sqlite" and not Path(str(url.database)).exists():
        raise StorageError(f"there is no database {shown(url)}")
    opened = open_storage(storage, create=False)
    try:
        name = _chosen(opened, study, shown(url))
        yield optuna.load_study(study_name=name, storage=opened)
    finally:
        opened.remove_session()
        opened.engine.dispose()


def _chosen(opened: optuna.storages.RDBStorage, study: str | None, place: str) -> str:
    everything = {each.study_name: each for each in patiently(opened.get_all_studies)}
    searches = [name for name, each in everything.items() if PROTOCOL in each.user_attrs]
    retraining = retraining_name("", 0).removesuffix("0")
    others = [name for name in everything if name not in searches and retraining not in name]
    candidates = searches or others
    if study is not None:
        if study not in everything:
            raise UnknownNameError("study", study, searches + others)
        return study
    if not candidates:
        raise StorageError(f"{place} holds no study")
    if len(candidates) > 1:
        raise StudyError(f"{place} holds several studies; name one: {', '.join(sorted(candidates))}")
    return candidates[0]


def ledger_says(storage: str, study: optuna.Study) -> Status | None:
    """What the ledger says of a study; None where it is not a search's, or has no ledger."""
    if PROTOCOL not in study.user_attrs:
        return None
    try:
        return read_status(storage, study.study_name)
    except HpoGnError:  # somebody copied the study's tables alone
        return None


def costs_of(status: Status | None) -> dict[int, TrialCost]:
    """What each trial cost by the ledger."""
    if status is None:
        return {}
    return {
        each.trial: TrialCost(each.spent, each.training_s, each.measuring_s) for each in status.search.trials
    }
