"""SQLAlchemy engines as the ledger needs them: connections that are kept, and commits that are durable."""

import os
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DisconnectionError

from hpo_gn.budget.patience import PATIENCE_S

_SERVER = {
    # A worker that hangs inside a transaction must not lock the account for everybody; it tries again.
    "options": "-c idle_in_transaction_session_timeout=5s",
    "connect_timeout": 10,
    # A server whose machine is gone answers nothing; without these a worker would wait for it for hours.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
_POOL: dict[str, Any] = {"pool_size": 2, "max_overflow": -1}  # a trial's thread and its lease's


def make_engine(url: URL) -> Engine:
    """An engine whose write transactions are serialized by the ledger.

    Args:
        url: of a SQLite file or a PostgreSQL database.
    """
    if url.get_backend_name() == "sqlite":
        return _sqlite_engine(url)
    options = {name: value for name, value in _SERVER.items() if name not in url.query}
    # A statement must see what was committed while it waited for the account's lock.
    return create_engine(url, isolation_level="READ COMMITTED", connect_args=options, **_POOL)


def reading(connection: Connection) -> Connection:
    """The connection, for a transaction that sees one moment, writes nothing and takes no write lock."""
    if connection.dialect.name == "sqlite":
        return connection.execution_options(hpo_gn_reading=True)
    return connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def _sqlite_engine(url: URL) -> Engine:
    engine = create_engine(url, connect_args={"timeout": PATIENCE_S}, **_POOL)

    # A file that was replaced must not be written to behind its name.
    @event.listens_for(engine, "connect")
    def connect(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # sqlite3 then leaves BEGIN to us
        connection.execute("PRAGMA synchronous=FULL")
        # A journal that is removed is not synced: when the power fails, the last commits would be undone.
        # Write-ahead logging is left on where somebody turned it on, and never turned on here: a child forked
        # from a process that has such a file open holds none of its locks, and can lose what it commits.
        if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
            connection.execute("PRAGMA journal_mode=PERSIST")
        record.info["file"] = _file_at(url.database)

    @event.listens_for(engine, "checkout")
    def checkout(_connection: Any, record: Any, _proxy: Any) -> None:
        if record.info["file"] != _file_at(url.database):
            raise DisconnectionError

    # DEFERRED, then a write, would fail at once where another transaction wrote in between.
    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        mode = "DEFERRED" if "hpo_gn_reading" in connection.get_execution_options() else "IMMEDIATE"
        connection.exec_driver_sql(f"BEGIN {mode}")

    return engine


def _file_at(path: Any) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino
