"""A probe: what an epoch takes in time and memory, by training the initial settings for two."""

import json
import pickle
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from tempfile import TemporaryDirectory
from typing import Any, cast

import optuna
import torch

from hpo_gn.allocator import keep_freed_memory
from hpo_gn.budget import Hold
from hpo_gn.checkpoint import Checkpoints
from hpo_gn.crew import forkserver
from hpo_gn.data import Splits
from hpo_gn.errors import HpoGnError
from hpo_gn.experiment import Experiment
from hpo_gn.failures import describe
from hpo_gn.seeds import derive_seed
from hpo_gn.training import can_resume
from hpo_gn.trial import ERROR, Start, TrialRun

PROBED_EPOCHS = 2
"""The first warms up: it compiles, allocates and fills caches."""

_FAILED = "the initial settings failed"


@dataclass(frozen=True)
class Probe:
    """What an epoch of the initial settings took.

    Args:
        training_s, measuring_s: seconds an epoch.
        samples: of the reduced training set, on which it trained.
        full_samples: of the full training set.
        resumable: whether the training can be continued from a checkpoint.
        memory_bytes: what a worker takes of a GPU at the largest batch size of the space, CUDA's own share
            and the full training set included; None on a CPU.
    """

    training_s: float
    measuring_s: float
    samples: int
    full_samples: int
    resumable: bool = True
    memory_bytes: int | None = None


def probe(experiment: Experiment, device: torch.device | str) -> Probe:
    """Train the initial settings for two epochs as a trial does, and see what the second takes.

    It costs no budget. It runs in a process of its own, so that nothing of it stays on the device; on a GPU a
    third epoch, at the largest batch size, shows the memory. Settings that diverge do so in the usual time.

    Args:
        experiment: what would be searched.
        device: where.

    Raises:
        HpoGnError: the data, the model or the training cannot be used, or failed; in one line.
    """
    device = torch.device(device)
    before = free_bytes(device)
    with _elsewhere(_train, experiment, str(device)) as found:
        # What the process took is seen from outside: its own counters know nothing of CUDA's context.
        taken = [] if before is None else [before - (free_bytes(device) or 0)]
    memory_bytes = max([*taken, found.pop("reserved_bytes")])
    return Probe(**found, memory_bytes=memory_bytes if taken else None)


def free_bytes(device: torch.device) -> int | None:
    """The free memory of a GPU, asked in a process of its own, whose CUDA context this one is spared; None of
    anything else.
    """
    if device.type != "cuda":
        return None
    with _elsewhere(_look, str(device)) as found:
        return int(found["free_bytes"])


def _look(device: str) -> dict[str, Any]:
    return {"free_bytes": torch.cuda.mem_get_info(torch.device(device))[0]}


def _train(experiment: Experiment, device: str) -> dict[str, Any]:
    keep_freed_memory()
    torch.set_num_threads(experiment.threads)
    on_gpu = torch.device(device).type == "cuda"
    splits = experiment.splits("search", torch.device(device))
    full = experiment.splits("full", torch.device(device))  # it lies there while the winner is trained
    found = _run(experiment, splits, experiment.initial, PROBED_EPOCHS)
    if on_gpu:
        _run(experiment, splits, _largest(experiment), 1)
    return {
        **found,
        "samples": len(splits.train),
        "full_samples": len(full.train),
        "reserved_bytes": torch.cuda.max_memory_reserved(device) if on_gpu else 0,
    }


def _run(experiment: Experiment, splits: Splits, config: dict[str, Any], epochs: int) -> dict[str, Any]:
    assert splits.validation is not None
    watch = _Stopwatch()
    training = experiment.build(
        config, splits, epochs=experiment.epochs, seed=derive_seed(experiment.seed, 0)
    )
    with TemporaryDirectory() as folder:
        run = TrialRun(
            build=lambda _trial: training,
            splits={"train": splits.train, "validation": splits.validation},
            measures=lambda training, _epoch: experiment.measures(training, splits),
            objective=lambda _history: 0.0,  # whatever the measures say, the next epoch runs
            checkpoints=Checkpoints(folder),
            interrupted=lambda: False,
        )
        trial = optuna.create_study().ask()
        run(trial, cast(Hold, watch), Start(), epochs)
    if (error := trial.user_attrs.get(ERROR)) is not None:
        raise HpoGnError(f"{_FAILED}: {error}")
    training_s, measuring_s = watch.read()
    return {"training_s": training_s, "measuring_s": measuring_s, "resumable": can_resume(training)}


class _Stopwatch:
    """A hold that charges nobody and keeps the last epoch's seconds."""

    def charge(self, _epoch: int) -> None:
        self._began = time.perf_counter()
        self._seconds: tuple[float, float] | None = None

    def record(self, _epoch: int, *, training_s: float, measuring_s: float) -> None:
        self._seconds = training_s, measuring_s

    def confirm(self) -> None:
        pass

    def read(self) -> tuple[float, float]:
        """Seconds of training and of measuring. An epoch whose measures cannot give a number is not recorded:
        all its time counts as training.
        """
        return self._seconds or (time.perf_counter() - self._began, 0.0)


def _largest(experiment: Experiment) -> dict[str, Any]:
    """The initial settings at the largest batch size."""
    distribution = experiment.distributions.get("batch_size")
    if isinstance(distribution, optuna.distributions.CategoricalDistribution):
        sizes = [size for size in distribution.choices if isinstance(size, int)]
    else:
        sizes = [distribution.high] if isinstance(distribution, optuna.distributions.IntDistribution) else []
    return experiment.initial | ({"batch_size": max(sizes)} if sizes else {})


@contextmanager
def _elsewhere(function: Callable[..., dict[str, Any]], *arguments: object) -> Iterator[dict[str, Any]]:
    """What a function gives in a process of its own, which lives until the context ends.

    Raises:
        HpoGnError: what it raised, in one line, or that it died.
    """
    context = forkserver()
    ours, theirs = context.Pipe()
    process = context.Process(target=_answer, args=(theirs, function, arguments), daemon=True)
    try:
        process.start()
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise HpoGnError(f"the experiment cannot be sent to another process: {describe(error)}") from None
    theirs.close()
    try:
        yield _result(ours, process)
    finally:
        process.terminate()
        process.join()
        ours.close()


def _result(ours: Connection, process: BaseProcess) -> dict[str, Any]:
    try:
        answer = json.loads(ours.recv_bytes())
    except EOFError:
        process.join()
        raise HpoGnError(f"the probing process died with exit code {process.exitcode}") from None
    if isinstance(answer, str):
        raise HpoGnError(answer)
    return cast(dict[str, Any], answer)


def _answer(
    theirs: Connection, function: Callable[..., dict[str, Any]], arguments: tuple[object, ...]
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that asked ends this one
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    answer: dict[str, Any] | str
    try:
        answer = function(*arguments)
    except HpoGnError as error:
        answer = str(error)
    except (Exception, SystemExit) as error:
        answer = f"{_FAILED}: {describe(error)}"
    theirs.send_bytes(json.dumps(answer).encode())
    with suppress(EOFError):
        theirs.recv_bytes()  # until the one who asked goes
