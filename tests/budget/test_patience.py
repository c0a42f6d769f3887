"""Which errors are waited for, and how long."""

import sqlite3

import psycopg
import pytest
from sqlalchemy.exc import DBAPIError, IntegrityError, NoSuchModuleError, OperationalError, ProgrammingError

from hpo_gn.budget.patience import OPENING_PATIENCE_S, PATIENCE_S, patience_s


def of_sqlite(code):
    error = sqlite3.OperationalError("in its words")
    error.sqlite_errorcode = code
    return OperationalError("", {}, error)


def of_state(state):
    return DBAPIError("", {}, psycopg.errors.lookup(state)("in its words"))


def connecting(words):
    return OperationalError("", {}, psycopg.OperationalError(f"connection failed: {words}"))


def named(error):
    cause = getattr(error, "orig", error)
    return f"{type(cause).__name__} {getattr(cause, 'sqlite_errorcode', None) or cause}"


@pytest.mark.parametrize(
    "error",
    [
        of_sqlite(sqlite3.SQLITE_BUSY),
        of_sqlite(sqlite3.SQLITE_BUSY_SNAPSHOT),
        of_state("08006"),
        of_state("25P03"),
        of_state("40P01"),
        of_state("53300"),
        of_state("57P01"),
        of_state("57P03"),
        connecting("Connection refused"),
        connecting("server closed the connection unexpectedly"),
        DBAPIError("", {}, psycopg.InterfaceError("the connection is lost"), connection_invalidated=True),
    ],
    ids=named,
)
def test_the_database_is_away(error):
    assert patience_s(error, reached=True) == PATIENCE_S
    assert patience_s(error, reached=False) == OPENING_PATIENCE_S


@pytest.mark.parametrize("words", ["starting up", "shutting down", "in recovery mode"])
def test_a_server_that_says_so_is_the_right_one(words):
    error = connecting(f"FATAL:  the database system is {words}")
    assert patience_s(error, reached=False) == PATIENCE_S


@pytest.mark.parametrize(
    "error",
    [
        of_sqlite(sqlite3.SQLITE_FULL),
        of_sqlite(sqlite3.SQLITE_READONLY),
        of_sqlite(sqlite3.SQLITE_IOERR),
        of_sqlite(sqlite3.SQLITE_ERROR),
        DBAPIError("", {}, sqlite3.DatabaseError("file is not a database")),
        of_state("42P01"),
        of_state("53100"),
        of_state("25006"),
        of_state("23514"),
        of_state("42501"),
        connecting('FATAL:  password authentication failed for user "me"'),
        connecting('FATAL:  database "no" does not exist'),
        connecting("[Errno -2] Name or service not known"),
        ProgrammingError("", {}, psycopg.ProgrammingError("missing")),
        IntegrityError("", {}, psycopg.IntegrityError("check")),
        NoSuchModuleError("mysql"),
        ModuleNotFoundError("psycopg2"),
    ],
    ids=named,
)
def test_waiting_would_mend_nothing(error):
    assert patience_s(error, reached=True) == 0
