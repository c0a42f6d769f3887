"""A crew on a Ray cluster: each trial is a task, for a search that one machine is too small for.

Ray is only the transport. Study and ledger are the whole state, as on one machine: this process proposes the
rounds and submits the trials that are free, a task claims its trial as any worker would, and what a node
held when it died is settled as soon as Ray says so.
"""

import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch

from hpo_gn.allocator import keep_freed_memory
from hpo_gn.budget import Ledger
from hpo_gn.crew import release_dead, stoppable
from hpo_gn.database_url import parse_database_url
from hpo_gn.errors import ArgumentError, HpoGnError
from hpo_gn.owner import new_owner
from hpo_gn.ray_cluster import connected, first_line
from hpo_gn.rounds import Rounds
from hpo_gn.storage import open_storage
from hpo_gn.worker import Desk, Worker

_TICK_S = 0.5
_KILL_S = 10.0
_PATIENCE_S = 300.0
"""How long a search waits for another node when none is left that a trial fits on."""
_MOST_IDLE_DEATHS = 3
_LEAST_SHARE = 0.0001  # Ray counts no finer


def run_on_ray(
    worker: Worker, ledger: Ledger, tick: Callable[[], None], *, address: str, gpus_per_trial: float
) -> None:
    """Run a study's trials on a Ray cluster until there is nothing more to do.

    The results are those of any other crew. The first Ctrl-C (or SIGTERM) lets each trial finish its epoch
    and write its checkpoint, a second one stops them at once; either way their unused epochs go back.

    Args:
        worker: what runs each trial, but for its device: the GPU that Ray gives it, else the CPU.
        ledger: where a dead task's holds are settled.
        tick: called about twice a second.
        address: `host:port` of the cluster's head, or "auto" for the cluster that this machine is a node of.
        gpus_per_trial: GPUs that Ray sets aside for a trial, 0.25 for four trials on one.

    Raises:
        HpoGnError: Ray is not installed, the cluster cannot be reached or has no node that a trial fits on, a
            trial cannot go on for a reason that the user can mend, or tasks keep dying outside of any trial.
        KeyboardInterrupt: after Ctrl-C, when everything is settled.
    """
    _check_share(gpus_per_trial)
    with connected(address) as ray, stoppable() as stopping:
        release_dead(ledger)
        _RayCrew(ray, worker, ledger, gpus_per_trial).run(tick, stopping)
        if stopping():
            raise KeyboardInterrupt


def _check_share(gpus_per_trial: float) -> None:
    whole = gpus_per_trial >= 0 and float(gpus_per_trial).is_integer()
    if not whole and not _LEAST_SHARE <= gpus_per_trial <= 1:
        rule = f"a share from {_LEAST_SHARE} to 1, or a whole number"
        raise ArgumentError("gpus_per_trial", rule, gpus_per_trial)


@dataclass(frozen=True)
class _Task:
    trial: int
    owner: str


class _RayCrew:
    def __init__(self, ray: Any, worker: Worker, ledger: Ledger, gpus_per_trial: float) -> None:
        self._ray, self._worker, self._ledger = ray, worker, ledger
        self._needs = {"CPU": worker.experiment.threads, "GPU": gpus_per_trial}
        # A process that had one GPU cannot move to another: it ends with its trial.
        self._remote = ray.remote(
            num_cpus=self._needs["CPU"],
            num_gpus=gpus_per_trial,
            max_calls=1 if gpus_per_trial else 0,
            max_retries=0,
        )(_run_trial)
        self._shared = ray.put(worker)
        self._name, self._started = new_owner(), 0
        self._tasks: dict[Any, _Task] = {}
        self._idle_deaths: Counter[int] = Counter()
        self._fitted_at = float("-inf")

    def run(self, tick: Callable[[], None], stopping: Callable[[], int]) -> None:
        mark = self._worker.place.checkpoints.at(self._name)
        mark.claim(self._name)
        try:
            with self._worker.open() as desk:
                while not stopping() and desk.patiently(lambda: self._step(desk.rounds)):
                    tick()
        finally:
            self._stop(stopping)
            mark.discard()
        tick()

    def _step(self, rounds: Rounds) -> bool:
        self._check_nodes()
        waiting = {task.trial for task in self._tasks.values()}
        for trial in rounds.free():
            if trial.number not in waiting:
                self._submit(trial.number)
        if not self._tasks:
            return rounds.advance()
        for reference in self._ended():
            self._collect(reference)
        return True

    def _check_nodes(self) -> None:
        """A task that fits on no node would wait for ever."""
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        if any(all(node.get(kind, 0) >= need for kind, need in self._needs.items()) for node in nodes):
            self._fitted_at = time.monotonic()
        elif time.monotonic() - self._fitted_at > _PATIENCE_S:
            needs = f"{self._needs['CPU']} CPUs and {self._needs['GPU']:g} GPUs"
            raise HpoGnError(f"no node of the Ray cluster has the {needs} that a trial needs")

    def _submit(self, number: int) -> None:
        self._started += 1
        task = _Task(number, f"{self._name}:{self._started}")
        # In a list, so that Ray passes on the reference and the process fetches the worker once.
        reference = self._remote.remote([self._shared], os.getcwd(), number, task.owner)
        self._tasks[reference] = task

    def _ended(self) -> list[Any]:
        ended, _ = self._ray.wait(list(self._tasks), num_returns=len(self._tasks), timeout=_TICK_S)
        return list(ended)

    def _collect(self, reference: Any) -> None:
        """Take note of a task that ended, and settle what it held if it died."""
        task = self._tasks[reference]
        try:
            message = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            raise HpoGnError(f"a task of the Ray cluster failed: {first_line(error.cause)}") from error
        except self._ray.exceptions.RayError as error:
            self._bury(task, error)
            message = None
        del self._tasks[reference]
        if message is not None:
            raise HpoGnError(message)

    def _bury(self, task: _Task, error: Exception) -> None:
        held = any(hold["owner"] == task.owner for hold in self._ledger.open_holds())
        self._ledger.release(task.owner)
        self._idle_deaths[task.trial] += not held
        if self._idle_deaths[task.trial] > _MOST_IDLE_DEATHS:
            raise HpoGnError(f"Ray tasks keep dying before they run a trial: {first_line(error)}")

    def _stop(self, stopping: Callable[[], int]) -> None:
        try:
            for reference in self._tasks:
                self._ray.cancel(reference)
            ended: list[Any] = []
            while len(ended) < len(self._tasks) and stopping() < 2:
                ended = self._ended()
        except KeyboardInterrupt:  # the second Ctrl-C
            pass
        finally:
            for reference in self._tasks:
                self._ray.cancel(reference, force=True)
            if self._tasks:
                self._ray.wait(list(self._tasks), num_returns=len(self._tasks), timeout=_KILL_S)
            for task in self._tasks.values():
                self._ledger.release(task.owner)


def _run_trial(shared: list[Any], folder: str, number: int, owner: str) -> str | None:
    """The task: run a trial if it is still free; what the user has to mend, if anything."""
    # The driver cancels with SIGINT, a node that is shut down says SIGTERM.
    with stoppable(signal.SIGINT, signal.SIGTERM) as stopping:
        try:
            desk, ledger = _open_desk(shared[0], folder, owner.rpartition(":")[0])
            ledger.owner = owner
            while desk.patiently(lambda: _run_claimed(desk, number, stopping)) and not stopping():
                pass
        except HpoGnError as error:
            return f"{error} (on {socket.gethostname()})"
    return None


def _run_claimed(desk: Desk, number: int, stopping: Callable[[], int]) -> bool:
    if claim := desk.rounds.claim(number):
        desk.run(claim, lambda: bool(stopping()))
    return False


@cache
def _open_desk(shared: Any, folder: str, crew: str) -> tuple[Desk, Ledger]:
    """The study and, from the first trial on, the data on the device, which a process keeps."""
    import ray

    # What the user named by a relative path, or by a module of this folder, is found if the node has it.
    with suppress(OSError):
        os.chdir(folder)
    worker: Worker = ray.get(shared)
    place = worker.place
    _check_storage(place.storage, crew)
    place.checkpoints.at(crew).check(crew)
    keep_freed_memory()
    torch.set_num_threads(worker.experiment.threads)
    device = torch.device("cuda" if ray.get_gpu_ids() else "cpu")
    ledger = Ledger(place.storage, place.study, lease_s=place.lease_s)
    return Desk(replace(worker, device=device), ledger, open_storage(place.storage)), ledger


def _check_storage(url: str, crew: str) -> None:
    machine, here = (owner.partition(":")[0] for owner in (crew, new_owner()))
    if parse_database_url("storage", url).get_backend_name() == "sqlite" and here != machine:
        raise HpoGnError("a Ray cluster of several machines needs a PostgreSQL storage: SQLite is for one")
