"""Reading a search's status off its study and its ledger; nothing is written to either."""

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Self, TypeVar

import optuna
from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial
from sqlalchemy.exc import SQLAlchemyError

from hpo_gn.budget import Account, Ledger, Statement
from hpo_gn.database_url import parse_database_url, shown
from hpo_gn.errors import StorageError, StudyError
from hpo_gn.joining import PROTOCOL, find_study
from hpo_gn.pruning import GIVEN_UP, FalseKills, count_false_kills
from hpo_gn.retraining import find_winner, retraining_name
from hpo_gn.rounds import ROUNDS
from hpo_gn.status.entries import Measures, trial_status, worker_status
from hpo_gn.status.model import OVER, SEARCH, StageStatus, Status, TrialStatus, any_works
from hpo_gn.status.pace import Pace, read_pace

Result = TypeVar("Result")

_WINDOW_S = 300.0
_WINDOW_EPOCHS = 5
"""Where epochs are long, the pace is that of so many rather than of five minutes."""


def read_status(storage: str, study: str | None = None) -> Status:
    """How a search stands now.

    Args:
        storage: URL of the search's database.
        study: the search's name; None for the only one there.

    Raises:
        HpoGnError: there is no such search, or the storage cannot be read.
    """
    with StatusReader(storage, study) as reader:
        return reader.read()


class StatusReader:
    """Reads a search's status again and again; trials that had ended are not read twice.

    Args:
        storage: URL of the search's database.
        study: the search's name; None for the only one there.

    Raises:
        HpoGnError: there is no such search, or the storage cannot be read.
    """

    def __init__(self, storage: str, study: str | None = None) -> None:
        self._storage = storage
        self._study = _reading(lambda: find_study(storage, study))
        self._stages: dict[str, _Stage] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for stage in self._stages.values():
            stage.ledger.close()
        self._study._storage.remove_session()
        backend = getattr(self._study._storage, "_backend", None)
        if isinstance(backend, optuna.storages.RDBStorage):
            backend.engine.dispose()

    def read(self) -> Status:
        """How the search stands now.

        Raises:
            StorageError: the storage cannot be read.
        """
        return _reading(self._read)

    def _read(self) -> Status:
        name = self._study.study_name
        if name not in self._stages:
            self._stages[name] = self._stage(self._study)
        search = self._stages[name].read(SEARCH)
        retraining = None if search.best_trial is None else self._retraining(search.best_trial)
        return Status(
            study=name,
            storage=shown(parse_database_url("storage", self._storage)),
            read_at=datetime.now(UTC).isoformat(timespec="seconds"),
            stage=self._current(search, retraining),
            search=search,
            retraining=retraining,
        )

    def _current(self, search: StageStatus, retraining: StageStatus | None) -> str:
        # Who began the search says when it is over; if that command died, workers end it without a word.
        if self._study.user_attrs[PROTOCOL].get("done"):
            return OVER
        if retraining is None or search.running:
            return SEARCH
        return retraining.title if retraining.running else OVER

    def _retraining(self, winner: int) -> StageStatus | None:
        """The retraining of a trial; None until it has trials and an account."""
        title = f"retraining of trial {winner}"
        name = retraining_name(self._study.study_name, winner)
        if name not in self._stages:
            try:
                study = optuna.load_study(study_name=name, storage=self._study._storage)
            except KeyError:
                return None
            if ROUNDS not in study.user_attrs:
                return None
            self._stages[name] = self._stage(study)
        return self._stages[name].read(title)

    def _stage(self, study: optuna.Study) -> "_Stage":
        return _Stage(study, Ledger.open_existing(self._storage, study.study_name))


class _Stage:
    def __init__(self, study: optuna.Study, ledger: Ledger) -> None:
        self._study, self.ledger = study, ledger
        self._measures = Measures()
        self._best: tuple[int | None, float | None] = None, None
        self._ended = 0

    def read(self, title: str) -> StageStatus:
        statement = self.ledger.statement()  # first: what it holds, the study knows by then
        found = self._study.get_trials(deepcopy=False)
        entries = {entry.trial: entry for entry in statement.trials}
        trials = tuple(trial_status(trial, entries.get(trial.number)) for trial in found)
        last = self._study.user_attrs.get(ROUNDS, 0)
        pace = self._pace(statement)
        best_trial, best_value = self._find_best(trials) if title == SEARCH else (None, None)
        workers = tuple(worker_status(entry, entries) for entry in statement.workers)
        return StageStatus(
            title=title,
            account=statement.account,
            round=last,
            states=_count(trials),
            round_states=_count(trial for trial in trials if trial.round == last),
            best_trial=best_trial,
            best_value=best_value,
            pace=pace,
            to_go_s=_to_go_s(title, statement.account, trials, pace) if any_works(workers) else None,
            workers=workers,
            trials=trials,
            measures=self._measures.sum(found),
            false_kills=self._false_kills(found),
        )

    def _false_kills(self, trials: Iterable[FrozenTrial]) -> FalseKills | None:
        if not any(GIVEN_UP in trial.user_attrs for trial in trials):
            return None
        return count_false_kills(self._study)

    def _find_best(self, trials: Iterable[TrialStatus]) -> tuple[int | None, float | None]:
        """The winner as it would be now; the study is read for it when another trial has ended."""
        ended = sum(not trial.unfinished for trial in trials)
        if ended != self._ended:
            with suppress(StudyError):
                winner = find_winner(self._study)
                self._best = winner.number, winner.values[0]
            self._ended = ended
        return self._best

    def _pace(self, statement: Statement) -> Pace | None:
        epochs = sum(worker.epochs for worker in statement.workers)
        took_s = sum(worker.training_s + worker.measuring_s for worker in statement.workers)
        window_s = max(_WINDOW_S, _WINDOW_EPOCHS * took_s / epochs) if epochs else _WINDOW_S
        return self.ledger.database.read(
            lambda connection: read_pace(connection, self._study.study_name, window_s)
        )


def _count(trials: Iterable[TrialStatus]) -> dict[str, int]:
    return dict(sorted(Counter(trial.state for trial in trials).items()))


def _to_go_s(title: str, account: Account, trials: Iterable[TrialStatus], pace: Pace | None) -> float | None:
    """Seconds until the search's budget is spent, or the retraining's trials are trained, at a pace."""
    if pace is None:
        return None
    if title == SEARCH:
        return (account.limit - account.spent) / pace.spent_per_s
    rest = sum((trial.epochs or 0) - trial.epochs_done for trial in trials if trial.unfinished)
    return rest / pace.epochs_per_s


def _reading(read: Callable[[], Result]) -> Result:
    try:
        return read()
    except (StorageInternalError, SQLAlchemyError) as error:
        cause = getattr(error, "orig", None) or error
        raise StorageError(f"the storage is away: {str(cause).strip().splitlines()[0]}") from None
