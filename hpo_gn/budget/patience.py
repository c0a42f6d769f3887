"""Which of a database's errors pass when one waits."""

import sqlite3

from sqlalchemy.exc import DBAPIError, OperationalError

PATIENCE_S = 60.0
"""How long a database that was reached before may be away."""
OPENING_PATIENCE_S = 5.0
"""How long one that this process has not reached yet may be: its address may simply be wrong."""

_PASSING = {
    "25P03": "idle-in-transaction timeout",
    "40001": "serialization failure",
    "40P01": "deadlock",
    "53300": "too many connections",
    "55P03": "lock not available",
    "57P01": "shutdown by the administrator",
    "57P02": "shutdown after a crash",
    "57P03": "starting up or shutting down",
    "57P05": "idle-session timeout",
}
"""SQLSTATEs, besides class 08, connection exceptions."""

_LASTING = (
    "authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "does not exist",
    "permission denied",
    "Name or service not known",
    "could not translate host name",
)
"""Of errors while connecting, which carry no SQLSTATE: those that stay."""

_STARTING = "the database system is"  # starting up, shutting down, in recovery mode: it is the right one


def patience_s(error: Exception, *, reached: bool) -> float:
    """How long to repeat a transaction that failed so, in seconds; 0 if waiting cannot mend it.

    Args:
        error: SQLAlchemy's.
        reached: this process has used the database before.
    """
    if not _passes(error):
        return 0.0
    return PATIENCE_S if reached or _STARTING in str(error) else OPENING_PATIENCE_S


def _passes(error: Exception) -> bool:
    if not isinstance(error, DBAPIError):
        return False
    cause = error.orig
    if isinstance(cause, sqlite3.Error):
        return getattr(cause, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
    state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None)
    if state is not None:
        return state.startswith("08") or state in _PASSING
    if error.connection_invalidated:
        return True
    return isinstance(error, OperationalError) and not any(words in str(cause) for words in _LASTING)
