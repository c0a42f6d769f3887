"""The database a search lives in: Optuna's study and the ledger."""

from typing import Any

import optuna
from optuna.storages import RDBStorage
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from hpo_gn.errors import ArgumentError, StorageError

_BUSY_TIMEOUT_S = 60


def open_storage(url: str) -> RDBStorage:
    """Optuna's storage at a SQLite or PostgreSQL URL.

    Raises:
        ArgumentError: the URL is not one of those.
        StorageError: the database cannot be opened; a password in the URL is not shown.
    """
    backend, shown = _parsed(url)
    options: dict[str, Any] = {"connect_args": {"timeout": _BUSY_TIMEOUT_S}} if backend == "sqlite" else {}
    try:
        return RDBStorage(url, engine_kwargs=options)
    except (SQLAlchemyError, ImportError, RuntimeError, optuna.exceptions.StorageInternalError) as error:
        cause = getattr(error, "orig", None) or error
        raise StorageError(f"cannot open the storage {shown}: {str(cause).strip().splitlines()[0]}") from None


def _parsed(url: str) -> tuple[str, str]:
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
    except SQLAlchemyError:
        raise ArgumentError(
            "storage", "a database URL such as sqlite:///study.db", "an unreadable one"
        ) from None
    shown = parsed.render_as_string(hide_password=True)
    if backend not in ("sqlite", "postgresql") or (backend == "sqlite" and not parsed.database):
        raise ArgumentError("storage", "a URL of a SQLite file or a PostgreSQL database", shown)
    return backend, shown
