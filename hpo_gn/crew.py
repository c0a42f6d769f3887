"""A crew: worker processes on this machine, watched, replaced when they die, and stopped without leaving
anything held.
"""

import multiprocessing.connection
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from types import FrameType

import torch

from hpo_gn.allocator import keep_freed_memory
from hpo_gn.budget import Ledger
from hpo_gn.errors import HpoGnError
from hpo_gn.owner import is_dead, new_owner
from hpo_gn.ticker import ticking
from hpo_gn.worker import Worker

_TICK_S = 0.5
_MOST_IDLE_DEATHS = 3


@dataclass(frozen=True)
class _Member:
    process: BaseProcess
    messages: Connection
    worker: Worker


def run_crew(
    worker: Worker, ledger: Ledger, tick: Callable[[], None], *, devices: Sequence[torch.device]
) -> None:
    """Run workers, one on each device given, until there is nothing more to do.

    One worker runs in this process; more run in processes of their own, with the same results. The first
    Ctrl-C (or SIGTERM) lets each worker finish its epoch and write its checkpoint, a second one stops it at
    once; either way its unused epochs go back.

    Args:
        worker: what each of them is, but for its device.
        ledger: where a dead worker's holds are settled.
        tick: called about twice a second, from this thread or, with one worker, from another.
        devices: of the workers; a device may come more than once.

    Raises:
        HpoGnError: what a worker raised, or that workers keep dying outside of any trial.
        KeyboardInterrupt: after Ctrl-C, when everything is settled.
    """
    release_dead(ledger)
    if len(devices) == 1:
        _run_here(replace(worker, device=devices[0]), tick)
    else:
        _Crew(worker, devices, ledger).run(tick)


def forkserver() -> ForkServerContext:
    """What starts processes: CUDA and database connections do not survive a fork of this one, and a server
    that has only imported torch starts each at once.
    """
    multiprocessing.set_forkserver_preload([__name__, "torch._dynamo"])
    return multiprocessing.get_context("forkserver")


def release_dead(ledger: Ledger) -> None:
    """Settle what an earlier command on this machine held when it was killed, without waiting for its
    leases.
    """
    for owner in {hold["owner"] for hold in ledger.open_holds()}:
        if is_dead(owner):
            ledger.release(owner)


def _run_here(worker: Worker, tick: Callable[[], None]) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(worker.experiment.threads)
    try:
        with stoppable() as stopping, ticking(tick, _TICK_S):
            worker.run(lambda: bool(stopping()))
        if stopping():
            raise KeyboardInterrupt
    finally:
        torch.set_num_threads(threads)


class _Crew:
    def __init__(self, worker: Worker, devices: Sequence[torch.device], ledger: Ledger) -> None:
        self._workers = [replace(worker, device=device) for device in devices]
        self._ledger = ledger
        self._name = new_owner()
        self._started = self._idle_deaths = 0
        self._members: list[_Member] = []
        self._context = forkserver()

    def run(self, tick: Callable[[], None]) -> None:
        with stoppable() as stopping:
            try:
                for worker in self._workers:
                    self._members.append(self._start(worker))
                while self._members and not stopping():
                    self._watch()
                    tick()
            finally:
                self._stop(stopping)
            tick()
            if stopping():
                raise KeyboardInterrupt

    def _start(self, worker: Worker) -> _Member:
        self._started += 1
        named = replace(worker, owner=f"{self._name}:{self._started}")
        ours, theirs = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_work, args=(named, theirs), daemon=True)
        process.start()
        theirs.close()
        return _Member(process, ours, named)

    def _watch(self) -> None:
        multiprocessing.connection.wait(
            [member.process.sentinel for member in self._members], timeout=_TICK_S
        )
        for member in [member for member in self._members if member.process.exitcode is not None]:
            self._members.remove(member)
            if member.process.exitcode != 0:
                self._members.append(self._replace(member))

    def _replace(self, dead: _Member) -> _Member:
        if message := received(dead.messages):
            raise HpoGnError(message)
        owner = str(dead.worker.owner)
        held = [hold for hold in self._ledger.open_holds() if hold["owner"] == owner]
        self._ledger.release(owner)
        self._idle_deaths += not held
        if self._idle_deaths > _MOST_IDLE_DEATHS:
            raise HpoGnError(
                f"workers keep dying before they run a trial, the last with exit code {dead.process.exitcode}"
            )
        return self._start(dead.worker)

    def _stop(self, stopping: Callable[[], int]) -> None:
        try:
            stop_processes([member.process for member in self._members], stopping)
        finally:  # a second Ctrl-C raises
            for member in self._members:
                self._ledger.release(str(member.worker.owner))


def stop_processes(processes: Sequence[BaseProcess], stopping: Callable[[], int]) -> None:
    """Ask processes to stop, again with each further stop signal, and wait for them; whatever is raised
    meanwhile, none of them outlives it.

    Args:
        processes: which.
        stopping: how many stop signals there were, as of `stoppable`.
    """
    try:
        _wait(processes, stopping)
    finally:
        for process in processes:
            if process.is_alive():
                process.terminate()
                process.join(_TICK_S)
                process.kill()
                process.join()


def _wait(processes: Sequence[BaseProcess], stopping: Callable[[], int]) -> None:
    asked = 0
    while living := [process for process in processes if process.is_alive()]:
        wanted = max(1, stopping())
        if asked < wanted:
            asked += 1
            for process in living:
                process.terminate()
        living[0].join(_TICK_S)


def received(messages: Connection) -> str | None:
    """What a process said before it ended, if it said anything."""
    try:
        return str(messages.recv_bytes(), "utf-8") if messages.poll() else None
    except EOFError:
        return None


def _work(worker: Worker, messages: Connection) -> None:
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # a terminal sends Ctrl-C to all; the crew's leader passes it on
    keep_freed_memory()
    torch.set_num_threads(worker.experiment.threads)
    leader = multiprocessing.parent_process()
    with stoppable(signal.SIGTERM) as stopping:
        try:
            worker.run(lambda: bool(stopping()) or leader is None or not leader.is_alive())
        except HpoGnError as error:
            messages.send_bytes(str(error).encode())
            raise SystemExit(2) from None


@contextmanager
def stoppable(*signals: signal.Signals) -> Iterator[Callable[[], int]]:
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
