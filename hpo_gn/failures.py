"""What went wrong in the user's own code, in one line: why a trial failed, or why there can be none."""

import reprlib
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import SupportsFloat

import numpy as np
from optuna.exceptions import StorageInternalError, TrialPruned

from hpo_gn.errors import HpoGnError

DIVERGED = "hpo_gn:diverged"
"""Trial attribute: the epoch at whose end, or before it, what was measured was no finite number any more."""

_LONGEST = 300
_LONGEST_TRACEBACK = 20_000
_NO_NUMBERS = (bool, np.bool_, str, complex, np.complexfloating)  # though float() takes them


class TrialFailedError(Exception):
    """A trial's own code failed, which is no other trial's business.

    Args:
        reason: one line.
        traceback: of the exception behind it, if there is one.
    """

    def __init__(self, reason: str, traceback: str | None = None) -> None:
        super().__init__(reason)
        self.reason, self.traceback = reason, traceback


_PASSING = (KeyboardInterrupt, TrialPruned, StorageInternalError, TrialFailedError)


@contextmanager
def users_code(*passing: type[Exception]) -> Iterator[None]:
    """Whatever the code inside raises fails the trial, SystemExit too.

    Only what is no failure passes: Ctrl-C, Optuna's TrialPruned, and Optuna's storage being away, which is no
    trial's fault.

    Args:
        passing: more exceptions that pass.

    Raises:
        TrialFailedError: the code raised anything else.
    """
    try:
        yield
    except BaseException as error:  # SystemExit and GeneratorExit would end the worker
        if isinstance(error, (*_PASSING, *passing)):
            raise
        raise TrialFailedError(describe(error), _traceback()) from None


@contextmanager
def explained(what: str, *passing: type[Exception]) -> Iterator[None]:
    """Whatever code of the user's raises before there are trials is one line that says what failed and where.

    Args:
        what: begins the line, such as "the objective cannot be made".
        passing: exceptions that pass, as Ctrl-C does.

    Raises:
        HpoGnError: the code raised it, or anything else.
    """
    try:
        yield
    except BaseException as error:
        if isinstance(error, (HpoGnError, KeyboardInterrupt, *passing)):
            raise
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = "" if isinstance(error, SyntaxError) else f" ({Path(last.filename).name}, line {last.lineno})"
        raise HpoGnError(f"{what}: {describe(error)}{where}") from error


def describe(error: BaseException) -> str:
    """An exception as one line of printable text, whatever its message is."""
    name = type(error).__name__
    try:
        message = str(error).strip()
    except Exception:
        message = "(a message that cannot be read)"
    return one_line(f"{name}: {message}" if message else name)


def as_number(value: object) -> float:
    """A number, a tensor or an array of one, as a float; NaN and infinities are numbers.

    Raises:
        TrialFailedError: the objective gave something else.
    """
    if isinstance(value, SupportsFloat) and not isinstance(value, _NO_NUMBERS):
        try:
            return float(value)
        except Exception:  # several elements, too large an integer
            pass
    raise TrialFailedError(one_line(f"the objective must give a number, got {reprlib.repr(value)}"))


def one_line(text: str, *, longest: int = _LONGEST) -> str:
    """A text in one line of so many printable characters at most."""
    joined = "".join(each if each.isprintable() else "\ufffd" for each in " ".join(text.split()))
    return joined if len(joined) <= longest else f"{joined[: longest - 1]}…"


def _traceback() -> str:
    return traceback.format_exc()[-_LONGEST_TRACEBACK:]
