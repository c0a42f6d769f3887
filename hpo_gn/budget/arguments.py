"""What the ledger's callers may pass."""

import math
import operator
from typing import Any

from hpo_gn.errors import ArgumentError

_MOST = 2**31 - 1
"""The largest number that an integer column holds on every database."""
_MOST_SHARE = 1024


def checked_integer(name: str, value: Any, *, least: int = 1) -> int:
    """An integer that a column can hold, as Python's own.

    Raises:
        ArgumentError: it is none, or out of range.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if isinstance(value, bool) or not least <= number <= _MOST:
        raise ArgumentError(name, f"an integer from {least} to {_MOST}", value)
    return number


def checked_name(name: str, value: Any, *, longest: int) -> str:
    """A text that a column can hold.

    Raises:
        ArgumentError: it is none, empty or too long.
    """
    if not isinstance(value, str) or not 1 <= len(value) <= longest:
        raise ArgumentError(name, f"a text of 1 to {longest} characters", value)
    return value


def checked_seconds(name: str, value: Any, *, zero: bool = True) -> float:
    """A duration in seconds.

    Raises:
        ArgumentError: it is no number, negative, infinite, or zero where that makes no sense.
    """
    number = _number(value)
    if not math.isfinite(number) or number < 0 or (number == 0 and not zero):
        rule = "a finite number of seconds, " + ("0 or more" if zero else "more than 0")
        raise ArgumentError(name, rule, value)
    return number


def checked_share(name: str, value: Any) -> float:
    """A share of an epoch.

    Raises:
        ArgumentError: it is no number from 0 to 1024.
    """
    number = _number(value)
    if not 0 <= number <= _MOST_SHARE:
        raise ArgumentError(name, f"a number from 0 to {_MOST_SHARE}", value)
    return number


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan
