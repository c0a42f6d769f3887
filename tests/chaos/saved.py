"""What the scenarios of saving share: states that show whether they are whole, and forked processes."""

import multiprocessing
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

import torch

from hpo_gn.checkpoint import Checkpoint, Checkpoints

NUMBERS = 500_000
"""In a state: 2 MB."""
PATIENCE_S = 60
"""For what a process is waited for that takes a moment."""


def checkpoint(epoch: int, numbers: int) -> Checkpoint:
    """A state of so many times its epoch."""
    return Checkpoint(epoch, {"weight": torch.full((numbers,), float(epoch))})


def is_whole(found: Checkpoint, numbers: int) -> bool:
    """Whether a state is what was saved of its epoch."""
    return torch.equal(found.state["weight"], checkpoint(found.epoch, numbers).state["weight"])


def names_in(checkpoints: Checkpoints) -> list[str]:
    """The files of trial 0."""
    return sorted(checkpoints._files.names("trial-0"))


def forked(target: Callable[..., None], *arguments: object) -> tuple[BaseProcess, Connection]:
    """A process that runs `target(*arguments, pipe)`, and the other end of the pipe."""
    context = multiprocessing.get_context("fork")  # fresh ones would take seconds each to import torch
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=target, args=(*arguments, theirs))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*multi-threaded.*fork", DeprecationWarning)
        process.start()
    theirs.close()
    return process, ours
