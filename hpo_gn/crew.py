"""A crew: worker processes on this machine, watched, replaced when they die, and stopped without leaving
anything held.
"""

import multiprocessing.connection
import os
import signal
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType

import torch

from hpo_gn.allocator import keep_freed_memory
from hpo_gn.budget import Ledger
from hpo_gn.errors import HpoGnError
from hpo_gn.ticker import ticking
from hpo_gn.worker import Worker

_TICK_S = 0.5
_MOST_IDLE_DEATHS = 3


@dataclass(frozen=True)
class _Member:
    process: BaseProcess
    messages: Connection
    owner: str


def run_crew(worker: Worker, count: int, ledger: Ledger, tick: Callable[[], None]) -> None:
    """Run workers until there is nothing more to do.

    One worker runs in this process; more run in processes of their own, with the same results. The first
    Ctrl-C (or SIGTERM) lets each worker finish its epoch and write its checkpoint, a second one stops it at
    once; either way its unused epochs go back.

    Args:
        worker: what each of them is.
        count: how many.
        ledger: where a dead worker's holds are settled.
        tick: called about twice a second, from this thread or, with one worker, from another.

    Raises:
        HpoGnError: what a worker raised, or that workers keep dying outside of any trial.
        KeyboardInterrupt: after Ctrl-C, when everything is settled.
    """
    _release_dead(ledger)
    if count == 1:
        _run_here(worker, tick)
    else:
        _Crew(worker, count, ledger).run(tick)


def _release_dead(ledger: Ledger) -> None:
    """Settle what an earlier command on this machine held when it was killed, without waiting for its
    leases.
    """
    for owner in {hold["owner"] for hold in ledger.open_holds()}:
        host, process, _ = owner.split(":", 2)
        if (
            host == socket.gethostname()
            and not Path(f"/proc/{process}").exists()
            and Path("/proc/self").exists()
        ):
            ledger.release(owner)


def _run_here(worker: Worker, tick: Callable[[], None]) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(worker.experiment.threads)
    try:
        with _stoppable() as stopping, ticking(tick, _TICK_S):
            worker.run(lambda: bool(stopping()))
        if stopping():
            raise KeyboardInterrupt
    finally:
        torch.set_num_threads(threads)


class _Crew:
    def __init__(self, worker: Worker, count: int, ledger: Ledger) -> None:
        self._worker, self._ledger = worker, ledger
        self._name = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._started = self._idle_deaths = 0
        self._members: list[_Member] = []
        self._count = count
        # CUDA and database connections do not survive a fork of this process; a server that has only imported
        # torch starts each worker at once.
        multiprocessing.set_forkserver_preload([__name__, "torch._dynamo"])
        self._context = multiprocessing.get_context("forkserver")

    def run(self, tick: Callable[[], None]) -> None:
        with _stoppable() as stopping:
            try:
                for _ in range(self._count):
                    self._members.append(self._start())
                while self._members and not stopping():
                    self._watch()
                    tick()
            finally:
                self._stop(stopping)
            tick()
            if stopping():
                raise KeyboardInterrupt

    def _start(self) -> _Member:
        self._started += 1
        ours, theirs = self._context.Pipe(duplex=False)
        owner = f"{self._name}:{self._started}"
        process = self._context.Process(
            target=_work, args=(replace(self._worker, owner=owner), theirs), daemon=True
        )
        process.start()
        theirs.close()
        return _Member(process, ours, owner)

    def _watch(self) -> None:
        multiprocessing.connection.wait(
            [member.process.sentinel for member in self._members], timeout=_TICK_S
        )
        for member in [member for member in self._members if member.process.exitcode is not None]:
            self._members.remove(member)
            if member.process.exitcode != 0:
                self._members.append(self._replace(member))

    def _replace(self, dead: _Member) -> _Member:
        if message := _message(dead):
            raise HpoGnError(message)
        held = [hold for hold in self._ledger.open_holds() if hold["owner"] == dead.owner]
        self._ledger.release(dead.owner)
        self._idle_deaths += not held
        if self._idle_deaths > _MOST_IDLE_DEATHS:
            raise HpoGnError(
                f"workers keep dying before they run a trial, the last with exit code {dead.process.exitcode}"
            )
        return self._start()

    def _stop(self, stopping: Callable[[], int]) -> None:
        asked = 0
        while living := [member for member in self._members if member.process.is_alive()]:
            wanted = max(1, stopping())
            if asked < wanted:
                asked += 1
                for member in living:
                    member.process.terminate()
            living[0].process.join(_TICK_S)
        for member in self._members:
            self._ledger.release(member.owner)


def _message(member: _Member) -> str | None:
    try:
        return str(member.messages.recv_bytes(), "utf-8") if member.messages.poll() else None
    except EOFError:
        return None


def _work(worker: Worker, messages: Connection) -> None:
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # a terminal sends Ctrl-C to all; the crew's leader passes it on
    keep_freed_memory()
    torch.set_num_threads(worker.experiment.threads)
    leader = multiprocessing.parent_process()
    with _stoppable(signal.SIGTERM) as stopping:
        try:
            worker.run(lambda: bool(stopping()) or leader is None or not leader.is_alive())
        except HpoGnError as error:
            messages.send_bytes(str(error).encode())
            raise SystemExit(2) from None


@contextmanager
def _stoppable(*signals: signal.Signals) -> Iterator[Callable[[], int]]:
    """Count stop signals inside; the second raises KeyboardInterrupt. Outside the main thread nothing is
    caught.
    """
    count = 0

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal count
        count += 1
        if count > 1:
            raise KeyboardInterrupt

    before = {}
    for number in signals or (signal.SIGINT, signal.SIGTERM):
        try:
            before[number] = signal.signal(number, stop)
        except ValueError:  # not the main thread: whoever is there handles signals
            break
    try:
        yield lambda: count
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
