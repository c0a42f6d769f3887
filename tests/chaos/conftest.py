"""The two kinds of databases that a scenario runs on."""

from collections.abc import Iterator

import pytest

from tests.chaos.databases import Databases, PostgreSQL, SQLite, running_postgresql


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A real server of this test process alone."""
    with running_postgresql() as server:
        yield server


@pytest.fixture
def sqlite(tmp_path) -> SQLite:
    """Files of the test's own folder."""
    return SQLite(tmp_path)


@pytest.fixture(params=["sqlite", "postgresql"])
def databases(request: pytest.FixtureRequest) -> Databases:
    """Each kind of database."""
    return request.getfixturevalue(request.param)
