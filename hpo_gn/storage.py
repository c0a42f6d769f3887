"""The database a search lives in: Optuna's study and the ledger."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from sqlalchemy import create_engine, inspect
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from hpo_gn.database_url import parse_database_url, shown
from hpo_gn.errors import StorageError

Result = TypeVar("Result")

_PATIENCE_S = 60.0
_PAUSE_S = 1.0
_BUSY_TIMEOUT_S = 60


def open_storage(url: str, *, create: bool = True) -> RDBStorage:
    """Optuna's storage at a SQLite or PostgreSQL URL.

    Args:
        url: the database's.
        create: whether to make Optuna's tables where they are missing; otherwise they must be there.

    Raises:
        ArgumentError: the URL is not one of those.
        StorageError: the database cannot be opened; a password in the URL is not shown.
    """
    parsed = parse_database_url("storage", url)
    sqlite = parsed.get_backend_name() == "sqlite"
    options: dict[str, Any] = (
        {"connect_args": {"timeout": _BUSY_TIMEOUT_S}}
        if sqlite
        else {"pool_pre_ping": True}  # the server may have been restarted
    )
    try:
        if not create and not _has_studies(parsed):
            raise StorageError(f"{shown(parsed)} holds no study")
        return RDBStorage(parsed.render_as_string(hide_password=False), engine_kwargs=options)
    except (SQLAlchemyError, ImportError, RuntimeError, optuna.exceptions.StorageInternalError) as error:
        cause = getattr(error, "orig", None) or error
        raise StorageError(
            f"cannot open the storage {shown(parsed)}: {str(cause).strip().splitlines()[0]}"
        ) from None


class Absence:
    """How long Optuna's storage has been away, as when its server restarts."""

    def __init__(self) -> None:
        self._since: float | None = None

    def bear(self, error: StorageInternalError) -> None:
        """Wait a little after an error.

        Raises:
            StorageError: the storage has been away for more than a minute.
        """
        now = time.monotonic()
        self._since = self._since or now
        if now - self._since > _PATIENCE_S:
            raise StorageError(f"the storage is away: {str(error).splitlines()[0]}") from None
        time.sleep(_PAUSE_S)


def patiently(call: Callable[[], Result]) -> Result:
    """What a call gives that reads or writes Optuna's storage, made again while that is away.

    Args:
        call: it must do no harm when it is made twice.

    Raises:
        StorageError: the storage has been away for more than a minute.
    """
    absence = Absence()
    while True:
        try:
            return call()
        except StorageInternalError as error:
            absence.bear(error)


def _has_studies(url: URL) -> bool:
    engine = create_engine(url, poolclass=NullPool)
    try:
        return inspect(engine).has_table("studies")
    finally:
        engine.dispose()
