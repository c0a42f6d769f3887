"""The database's clock, the only one that counts, as an SQL expression."""

from typing import Any

from sqlalchemy import Double, RowMapping
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction


class database_clock(GenericFunction[float]):  # noqa: N801  # SQLAlchemy registers a function by its class's name
    """Seconds since 1970 when the database evaluates it: after what the same row waited for."""

    type = Double()
    inherit_cache = True


@compiles(database_clock, "sqlite")
def _sqlite(_element: Any, _compiler: Any, **_: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(database_clock, "postgresql")
def _postgresql(_element: Any, _compiler: Any, **_: Any) -> str:
    return "CAST(extract(epoch FROM clock_timestamp()) AS DOUBLE PRECISION)"


NOW = database_clock().label("now")


def now_in(row: RowMapping) -> float:
    """The time in a row that NOW was selected with."""
    return float(row["now"])
