"""A process that works on one cell."""

import os
import signal
import threading
from dataclasses import dataclass
from multiprocessing import parent_process
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import optuna
import torch

from hpo_gn.allocator import keep_freed_memory
from hpo_gn.budget import Hold
from hpo_gn.checkpoint import Checkpoints
from hpo_gn.comparison.cells import Cell
from hpo_gn.comparison.outcome import run_cell
from hpo_gn.comparison.store import CellStore
from hpo_gn.errors import HoldClosedError, HpoGnError
from hpo_gn.storage import patiently
from hpo_gn.studies import open_study
from hpo_gn.worker import Place

HELD = 75
"""Exit code: another process works on the cell."""
TROUBLE = 2
"""Exit code: there is no result, for a reason that was sent and is not the cell's."""


@dataclass(frozen=True)
class Work:
    """A cell to work on.

    Args:
        cell: which.
        study: where.
        store: of the comparison.
        output: its folder.
        device: where to train.
        checkpoints: as of `search`.
    """

    cell: Cell
    study: str
    store: CellStore
    output: Path
    device: str
    checkpoints: str | None = None


def work(task: Work, messages: Connection) -> None:
    """Run a cell in this process, unless another one does or did."""
    os.setpgrp()  # a terminal sends Ctrl-C to all of its group; who started this one passes it on
    _stop_with(parent_process())
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    keep_freed_memory()
    torch.set_num_threads(task.cell.experiment.threads)
    try:
        with task.store.claim(task.study) as claim:
            if claim is None:
                raise SystemExit(HELD)
            _work(task, claim)
    except HoldClosedError:
        raise SystemExit(HELD) from None
    except HpoGnError as error:
        messages.send_bytes(str(error).encode())
        raise SystemExit(TROUBLE) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


def _work(task: Work, claim: Hold) -> None:
    store = task.store
    place = Place(store.storage, task.study, Checkpoints(task.output), store.lease_s)
    patiently(lambda: open_study(place, task.cell.experiment))
    before = store.result(task.study)
    if before is not None and before.failure is not None:
        return
    result = run_cell(
        task.cell,
        task.study,
        budget=store.budget,
        retrainings=store.retrainings,
        storage=store.storage,
        output=task.output,
        device=task.device,
        checkpoints=task.checkpoints,
        lease_s=store.lease_s,
    )
    patiently(lambda: store.write(task.study, result, claim))


def _stop_with(parent: BaseProcess | None) -> None:
    """When whoever started this process is gone, however it ended, stop as after Ctrl-C."""
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
