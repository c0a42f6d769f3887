"""Database URLs as users write them: checked, given their driver, and shown without their secrets."""

from pathlib import Path

import optuna
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError as UnreadableUrlError

from hpo_gn.errors import ArgumentError

_RULE = "a URL of a SQLite file or a PostgreSQL database, such as sqlite:///study.db"
_SECRET_OPTIONS = ("password", "sslpassword")


def parse_database_url(name: str, url: str) -> URL:
    """A URL of a SQLite file or a PostgreSQL database. A plain `postgresql://` means psycopg 3, whatever
    SQLAlchemy's own default is.

    Args:
        name: what an error calls the URL.
        url: the URL as the user wrote it.

    Raises:
        ArgumentError: it is not one of those; no password in it is shown.
    """
    try:
        parsed = make_url(url)
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        parsed.get_dialect()  # an unknown driver shows here
    except (UnreadableUrlError, ValueError):
        raise ArgumentError(name, _RULE, _unparsed(str(url))) from None
    backend = parsed.get_backend_name()
    in_memory = not parsed.database or ":memory:" in parsed.database
    if backend not in ("sqlite", "postgresql") or (backend == "sqlite" and in_memory):
        raise ArgumentError(name, _RULE, shown(parsed))
    return parsed


def shown(url: URL) -> str:
    """A URL as text that may be logged: its password is hidden, wherever it stands."""
    if url.get_backend_name() == "sqlite":  # no secrets there, and SQLAlchemy would percent-encode the path
        return f"{url.drivername}:///{url.database or ''}"
    return url.difference_update_query(_SECRET_OPTIONS).render_as_string(hide_password=True)


def sqlite_url(path: Path) -> str:
    """The URL of a SQLite file, whatever characters are in its path."""
    return URL.create("sqlite", database=str(path)).render_as_string()


def url_of_study(study: optuna.Study) -> str | None:
    """The URL of the database an Optuna study lives in, with its password; None if its storage is none."""
    backend = getattr(study._storage, "_backend", study._storage)
    return str(backend.url) if isinstance(backend, optuna.storages.RDBStorage) else None


def _unparsed(url: str) -> str:
    return "***" if "@" in url or "password" in url.lower() else url
