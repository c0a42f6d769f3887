"""The ledger's database: one serialized write transaction at a time, on SQLite or PostgreSQL, repeated while
the database is away.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from hpo_gn.budget.engine import make_engine, reading
from hpo_gn.budget.patience import patience_s
from hpo_gn.database_url import parse_database_url, shown
from hpo_gn.errors import StorageError

Result = TypeVar("Result")

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0
_INHERITED: list[Engine] = []
"""Engines of the process that this one was forked from; dropping them would close its connections."""


class Database:
    """Transactions on one database.

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
        self.file: str | None = None
        """The SQLite file's path, wherever the process goes; None for a server."""
        self._absolute = self.url
        if self.url.get_backend_name() == "sqlite":
            path = str(self.url.database)
            self.file = path if path.startswith("file:") else os.path.abspath(path)
            self._absolute = self.url.set(database=self.file)
        self._engine: Engine | None = None
        self._pid = os.getpid()
        self._reached = False

    @property
    def engine(self) -> Engine:
        """This process's engine: no connection survives a fork."""
        if self._engine is not None and self._pid != os.getpid():
            _INHERITED.append(self._engine)
            self._engine = None
        if self._engine is None:
            self._engine, self._pid = make_engine(self._absolute), os.getpid()
        return self._engine

    def write(self, work: Callable[[Connection], Result]) -> Result:
        """What `work` gives back in a write transaction, committed after it and rolled back if it raises.

        While the database is away the transaction is repeated, also when only the answer to its COMMIT was
        lost: `work` must change nothing more the second time.

        Raises:
            StorageError: the database cannot be opened, read or written, or stays away.
        """
        return self._patiently(self._write, work)

    def read(self, work: Callable[[Connection], Result]) -> Result:
        """What `work` reads of one moment, in a transaction that takes no write lock; repeated likewise.

        Raises:
            StorageError: the database cannot be opened or read, or stays away.
        """
        return self._patiently(self._read, work)

    def _write(self, work: Callable[[Connection], Result]) -> Result:
        with self.engine.connect() as connection, self._queue(), connection.begin():
            return work(connection)

    def _read(self, work: Callable[[Connection], Result]) -> Result:
        with self.engine.connect() as connection, reading(connection).begin():
            return work(connection)

    def _patiently(
        self,
        transact: Callable[[Callable[[Connection], Result]], Result],
        work: Callable[[Connection], Result],
    ) -> Result:
        began, pause = time.monotonic(), _FIRST_PAUSE_S
        while True:
            try:
                result = transact(work)
            except (SQLAlchemyError, ImportError) as error:
                if time.monotonic() + pause > began + patience_s(error, reached=self._reached):
                    raise self._unusable(getattr(error, "orig", None) or error) from None
            else:
                self._reached = True
                return result
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    @contextmanager
    def _queue(self) -> Iterator[None]:
        if self.file is None:
            yield
            return
        try:
            descriptor = os.open(f"{self.file}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise self._unusable(error.strerror) from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            # Closing alone would leave the lock with a child that another thread forked meanwhile.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    def close(self) -> None:
        """Drop this process's connections."""
        if self._engine is not None and self._pid == os.getpid():
            self._engine.dispose()
            self._engine = None

    def __str__(self) -> str:
        return shown(self.url)

    def _unusable(self, cause: object) -> StorageError:
        lines = str(cause).strip().splitlines() or [type(cause).__name__]
        return StorageError(f"cannot use the ledger at {self}: {lines[0]}")
