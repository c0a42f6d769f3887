"""The ledger's database: one serialized transaction at a time, on SQLite or PostgreSQL, timed by the
database's clock.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from hpo_gn.database_url import parse_database_url, shown
from hpo_gn.errors import StorageError

_CLOCK = {
    "sqlite": text("SELECT (julianday('now') - 2440587.5) * 86400.0"),
    "postgresql": text("SELECT extract(epoch FROM clock_timestamp())"),
}
_BUSY_TIMEOUT_S = 60


class Database:
    """Serialized write transactions on one database.

    SQLite's busy handler starves writers, so writers queue on a `flock` of a side file first; then BEGIN
    IMMEDIATE takes the write lock before anything is read. On PostgreSQL the account row is locked by the
    ledger itself.

    Args:
        url: an SQLAlchemy URL of a SQLite file or a PostgreSQL database.

    Raises:
        ArgumentError: the URL is not one of those.
    """

    def __init__(self, url: str) -> None:
        self.url = parse_database_url("ledger", url)
        self._engine: Engine | None = None
        self._pid = os.getpid()

    @property
    def engine(self) -> Engine:
        """This process's engine: no connection survives a fork."""
        if self._engine is None or self._pid != os.getpid():
            self._engine, self._pid = _engine(self.url), os.getpid()
        return self._engine

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A write transaction, committed on leaving and rolled back on an exception.

        Raises:
            StorageError: the database cannot be opened, read or written.
        """
        with self._queue():
            try:
                with self.engine.begin() as connection:
                    yield connection
            except (SQLAlchemyError, ImportError) as error:
                raise self._unusable(getattr(error, "orig", None) or error) from None

    @contextmanager
    def _queue(self) -> Iterator[None]:
        if self.url.get_backend_name() != "sqlite":
            yield
            return
        try:
            descriptor = os.open(f"{self.url.database}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise self._unusable(error.strerror) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            # Closing alone would leave the lock with a child that another thread forked meanwhile.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    def now(self, connection: Connection) -> float:
        """Seconds since 1970 by the database's clock, the only one that counts."""
        return float(connection.execute(_CLOCK[self.url.get_backend_name()]).scalar_one())

    def close(self) -> None:
        """Drop this process's connections."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def __str__(self) -> str:
        return shown(self.url)

    def _unusable(self, cause: object) -> StorageError:
        lines = str(cause).strip().splitlines() or [type(cause).__name__]
        return StorageError(f"cannot use the ledger at {self}: {lines[0]}")


def _engine(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        # A worker that hangs inside a transaction must not lock the account for everybody.
        options = {"options": "-c idle_in_transaction_session_timeout=30s"}
        return create_engine(url, pool_pre_ping=True, connect_args=options)
    engine = create_engine(url, poolclass=NullPool, connect_args={"timeout": _BUSY_TIMEOUT_S})
    event.listen(engine, "connect", _sqlite_connect)
    event.listen(engine, "begin", _sqlite_begin)
    return engine


def _sqlite_connect(connection: object, _record: object) -> None:
    connection.isolation_level = None  # type: ignore[attr-defined]  # sqlite3 then leaves BEGIN to us
    connection.execute("PRAGMA synchronous=FULL")  # type: ignore[attr-defined]


def _sqlite_begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
