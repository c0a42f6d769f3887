"""Processes that are killed and started again, and what they leave behind."""

import gc
import multiprocessing
import os
import random
import time
import traceback
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

# A fresh interpreter a kill would take most of the time.
CONTEXT = multiprocessing.get_context("fork")
PATIENCE_S = 120
"""After so long without any progress a scenario is stuck."""

T = TypeVar("T")


def on_stage(function: Callable[..., T], *arguments: Any) -> T:
    """Run a scenario in a forked process, and give back what it returns.

    A process must not fork while another of its threads is inside SQLite. The stage has one thread, whatever
    its parent had, and opens no ledger while it forks workers.
    """

    def perform(pipe: Connection) -> None:
        gc.freeze()
        try:
            pipe.send((function(*arguments), None))
        except BaseException:
            pipe.send((None, traceback.format_exc()))

    ours, theirs = CONTEXT.Pipe()
    stage = CONTEXT.Process(target=perform, args=(theirs,))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*multi-threaded.*fork", DeprecationWarning)
        stage.start()
    theirs.close()
    try:
        result, failure = ours.recv()
    except EOFError:
        stage.join()
        raise AssertionError(f"the stage died: {stage.exitcode}") from None
    stage.join()
    assert failure is None, failure
    return result


class Diary:
    """A file that processes append lines to, whole or not at all, whatever kills them."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)

    def write(self, *words: object) -> None:
        os.write(self._descriptor, (" ".join(map(str, words)) + "\n").encode())


def entries(folder: Path, kind: str) -> list[list[str]]:
    """The words of each line of the diaries of a kind."""
    paths = sorted(folder.glob(f"{kind}-*"))
    return [line.split() for path in paths for line in path.read_text().splitlines()]


class Station:
    """One worker's place: what it is at, so that its killer knows what was hit, and where it writes."""

    def __init__(self, phases: Any, number: int, folder: Path) -> None:
        self._phases, self.number, self._folder = phases, number, folder
        self.chance = random.Random()

    def enter(self, phase: int) -> None:
        self._phases[self.number] = phase

    def diary(self, kind: str) -> Diary:
        return Diary(self._folder / f"{kind}-{self.number}")


class Crew:
    """Workers in processes of their own, each started again when it dies.

    Args:
        work: what a worker does, from its station on.
        count: how many work at once.
        folder: where their diaries are.
    """

    def __init__(self, work: Callable[[Station], None], count: int, folder: Path) -> None:
        self._work, self.folder, self.count = work, folder, count
        self.phases = CONTEXT.RawArray("B", count)
        self._processes = [self._start(number) for number in range(count)]

    def _start(self, number: int) -> Any:
        self.phases[number] = 0
        process = CONTEXT.Process(target=self._run, args=(number,), daemon=True)
        process.start()
        return process

    def _run(self, number: int) -> None:
        station = Station(self.phases, number, self.folder)
        try:
            self._work(station)
        except Exception as error:
            station.diary("errors").write(f"{type(error).__name__}: {error}".replace("\n", " "))
            os._exit(1)

    def kill(self, number: int) -> int:
        """Kill a worker, start another in its place, and tell what it was at; 0: it was not running."""
        victim = self._processes[number]
        was_running = victim.exitcode is None
        victim.kill()
        victim.join()
        phase = int(self.phases[number]) if was_running else 0
        self._processes[number] = self._start(number)
        return phase

    def replace_failed(self) -> None:
        """Start another worker for each that died of an error."""
        for number, process in enumerate(self._processes):
            if process.exitcode:
                if process.exitcode < 0:  # nobody here killed it
                    Diary(self.folder / f"errors-{number}").write(f"signal {-process.exitcode}")
                self._processes[number] = self._start(number)

    def finished(self) -> bool:
        """Whether every worker has left by itself."""
        return all(process.exitcode == 0 for process in self._processes)

    def errors(self) -> list[str]:
        """What killed workers from within."""
        return [" ".join(words) for words in entries(self.folder, "errors")]

    def end(self) -> None:
        """Kill whoever still works."""
        for process in self._processes:
            process.kill()
            process.join()

    def wait(self, done: Callable[[], bool], *, most_errors: int = 10) -> bool:
        """Wait until something is so, with all workers at work; False: too many of them died of errors."""
        deadline = time.monotonic() + PATIENCE_S
        while not done():
            self.replace_failed()
            if len(self.errors()) > most_errors:
                return False
            if time.monotonic() > deadline:
                raise TimeoutError(f"no progress; the workers are at {list(self.phases)}: {self.errors()}")
            time.sleep(0.002)
        return True
