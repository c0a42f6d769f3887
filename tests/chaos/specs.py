"""Wrong space files and command lines, run in this process: each must end with exit code 2 and one line.

A line that turns out to be right is stopped where the trials would begin.
"""

import faulthandler
import importlib
import io
import os
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any
from unittest.mock import patch

import typer

from hpo_gn.cli import app
from hpo_gn.probe import Probe

ONE_LINE, RIGHT, TRACEBACK, HANG, OTHERWISE = "exit 2, one line", "right", "traceback", "hang", "otherwise"
OWN = "own"
"""The only module that a case's files may hold."""
HANGS_AFTER_S = 60.0
"""Far more than any line takes, on a busy machine too."""
_EXAMPLES = 20
_LONG = 2000  # characters that nobody calls a line any more


@dataclass(frozen=True)
class Case:
    """A command line, and the files in the folder it is given in."""

    arguments: tuple[str, ...]
    files: Mapping[str, bytes] = field(default_factory=dict)

    def __repr__(self) -> str:
        shown = " ".join(ascii(each[:100]) for each in self.arguments)
        return f"hpo-gn {shown} { ({name: contents[:200] for name, contents in self.files.items()}) }"


@dataclass(frozen=True)
class Ended:
    """How a line ended, and what it said."""

    how: str
    said: str


class RightError(BaseException):
    """The line was right: its work would begin now."""


class HangError(BaseException):
    """The line took too long."""


@contextmanager
def no_trials() -> Iterator[None]:
    """Inside, commands check everything, and stop where their work would begin."""

    def begin(*_: Any, **__: Any) -> Any:
        raise RightError

    def chosen(choose: Any) -> Any:
        def choose_nothing(*arguments: Any, **options: Any) -> Any:
            choose(*arguments, **options)
            return begin

        return choose_nothing

    # hpo_gn.search, the function, hides the module from dotted names.
    names = ("hpo_gn.search", "hpo_gn.joining", "hpo_gn.commands.plan")
    searching, joining, planning = map(importlib.import_module, names)
    with ExitStack() as stack:
        for module in (searching, joining):
            stack.enter_context(patch.object(module, "choose_engine", chosen(module.choose_engine)))
        waiting = SimpleNamespace(monotonic=time.monotonic, sleep=begin)  # for a search
        stack.enter_context(patch.object(joining, "time", waiting))
        stack.enter_context(patch.object(planning, "probe", lambda *_: Probe(0.1, 0.1, 143, 1437)))
        yield


def run(case: Case) -> Ended:
    """Run a line in an empty folder of its own, and look how it ends. To be called inside `no_trials`."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        for name, contents in case.files.items():
            (Path(folder) / name).write_bytes(contents)
        os.chdir(folder)
        try:
            return _invoke(case.arguments)
        finally:
            os.chdir(before)
            sys.modules.pop(OWN, None)
            importlib.invalidate_caches()


def _invoke(arguments: tuple[str, ...]) -> Ended:
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace") for _ in range(2))
    code: Any = None
    try:
        with redirect_stdout(out), redirect_stderr(err), _warnings_on(err), _watched():
            _command().main(args=list(arguments), prog_name="hpo-gn")
    except SystemExit as ended:
        code = ended.code
    except RightError:
        return Ended(RIGHT, "")
    except HangError:
        return Ended(HANG, traceback.format_exc())
    except BaseException:
        return Ended(TRACEBACK, traceback.format_exc())
    said, complaint = (_read(stream) for stream in (out, err))
    if code == 2 and not said and _is_one_line(complaint):
        return Ended(ONE_LINE, complaint)
    return Ended(RIGHT if code == 0 else OTHERWISE, f"exit {code!r}: {said}{complaint}")


@contextmanager
def _warnings_on(stream: io.TextIOWrapper) -> Iterator[None]:
    """Every warning as a line, each time, whoever else catches warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.simplefilter(
            "ignore", ResourceWarning
        )  # of a right line before that was stopped in the middle
        try:
            yield
        finally:
            stream.writelines(f"{each.category.__name__}: {each.message}\n" for each in caught)


def _read(stream: io.TextIOWrapper) -> str:
    stream.seek(0)
    return stream.read()


def _is_one_line(text: str) -> bool:
    return (
        text.startswith("hpo-gn: ") and text.endswith("\n") and text[:-1].isprintable() and len(text) < 2000
    )


@cache
def _command() -> Any:
    return typer.main.get_command(app)


@contextmanager
def _watched() -> Iterator[None]:
    def stop(_number: int, _frame: FrameType | None) -> None:
        raise HangError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, HANGS_AFTER_S)
    # Code that no signal interrupts ends the process, and says where it hung.
    faulthandler.dump_traceback_later(3 * HANGS_AFTER_S, exit=True, file=sys.__stderr__)
    try:
        yield
    finally:
        faulthandler.cancel_dump_traceback_later()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@dataclass
class Counts:
    """How many lines ended in each way, and examples of those that must not."""

    ends: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def add(self, case: Case, ended: Ended) -> None:
        """Count one."""
        self.ends[ended.how] += 1
        if ended.how not in (ONE_LINE, RIGHT) and len(self.examples) < _EXAMPLES:
            self.examples.append(f"{case!r}\n{ended.how}: {ended.said}")

    @property
    def wrong(self) -> int:
        """Lines that were wrong, however they ended."""
        return self.ends.total() - self.ends[RIGHT]

    def __str__(self) -> str:
        ways = ", ".join(f"{how} {self.ends[how]:,}" for how in (ONE_LINE, TRACEBACK, HANG, OTHERWISE))
        return f"{self.wrong:,} wrong: {ways}; and {self.ends[RIGHT]:,} right"


def run_all(cases: Iterable[Case]) -> Counts:
    """Run lines, and count how they end."""
    counts = Counts()
    with no_trials():
        for case in cases:
            counts.add(case, run(case))
    return counts


def figures(long: bool) -> dict[str, str]:
    """What was tried, and how it ended; examples of what must not be follow their count.

    Args:
        long: as many as the project promises; else a two-hundredth.
    """
    from tests.chaos.generated import generate
    from tests.chaos.hand_made import HAND_MADE

    count = 100_000 if long else 500
    by_hand = run_all(HAND_MADE.values())
    generated = run_all(map(generate, range(count)))
    examples = enumerate([*by_hand.examples, *generated.examples], start=1)
    return {
        f"{len(HAND_MADE)} command lines and space files made by hand": str(by_hand),
        f"{count:,} generated": str(generated),
        **{f"example {number}": text for number, text in examples},
    }
