"""A disk with room for a part of a checkpoint alone: a real one that is full, or a largest size of files."""

import contextlib
import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from hpo_gn.checkpoint import Checkpoints
from hpo_gn.errors import CheckpointError
from tests.chaos.saved import NUMBERS, PATIENCE_S, checkpoint, forked, is_whole, names_in


@dataclass(frozen=True)
class FullDisk:
    """What was found after each write that the kernel refused."""

    refusal: str
    points: int
    refused: int
    intact: int
    """Refusals after which the older checkpoint was the same, bit for bit, and alone."""
    recovered: int
    """Refusals after which the same checkpoint was written as soon as there was room."""

    def __str__(self) -> str:
        return (
            f"refused by {self.refusal} {self.refused}, old one intact {self.intact}, "
            f"written once there was room {self.recovered} of {self.points}"
        )


def fill_disk(*, points: int, mount: bool = True) -> FullDisk:
    """Save where there is room for a part of the checkpoint alone, each time for another part.

    Args:
        points: how many parts.
        mount: fill a small tmpfs where this process may mount one; else every file has a largest size.
    """
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(Path(folder) / "measured")
        checkpoints.save(0, checkpoint(1, NUMBERS))
        size = _file(checkpoints, 1).stat().st_size
    refused = intact = recovered = 0
    with _disk(4 * size if mount else None) as (folder, is_small):
        checkpoints = Checkpoints(folder / "checkpoints")
        checkpoints.save(0, checkpoint(1, NUMBERS))
        old = _file(checkpoints, 1).read_bytes()
        for point in range(points):
            room = size * (2 * point + 1) // (2 * points)
            said = _save_on_full_disk(checkpoints, room) if is_small else _save_with_limit(checkpoints, room)
            reason = "No space left on device" if is_small else "File too large"
            refused += said == f"checkpoint epoch-2.pt of trial-0 cannot be written: {reason}"
            intact += names_in(checkpoints) == ["epoch-1.pt"] and _file(checkpoints, 1).read_bytes() == old
            checkpoints.save(0, checkpoint(2, NUMBERS))
            found = checkpoints.latest(0)
            recovered += found is not None and found.epoch == 2 and is_whole(found, NUMBERS)
            checkpoints.rewind(0, 1)
    return FullDisk("a full tmpfs" if is_small else "RLIMIT_FSIZE", points, refused, intact, recovered)


def _file(checkpoints: Checkpoints, epoch: int) -> Path:
    return Path(checkpoints.root) / "trial-0" / f"epoch-{epoch}.pt"


@contextlib.contextmanager
def _disk(size: int | None) -> Iterator[tuple[Path, bool]]:
    """A folder, and whether it is a file system of its own, of that many bytes."""
    folder = tempfile.mkdtemp()
    mounted = size is not None and _succeeds("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder)
    try:
        yield Path(folder), mounted
    finally:
        if mounted and not _succeeds("umount", folder):
            _succeeds("umount", "--lazy", folder)
        shutil.rmtree(folder)


def _succeeds(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def _save_on_full_disk(checkpoints: Checkpoints, room: int) -> str | None:
    filler = Path(checkpoints.root).with_name("filler")
    disk = os.statvfs(filler.parent)
    with filler.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, disk.f_bavail * disk.f_frsize - room)
    said = _refusal(checkpoints)
    filler.unlink()
    return said


def _save_with_limit(checkpoints: Checkpoints, room: int) -> str | None:
    child, answer = forked(_save_limited, checkpoints, room)
    try:
        return answer.recv() if answer.poll(PATIENCE_S) else None
    finally:
        child.kill()
        child.join()
        answer.close()


def _save_limited(checkpoints: Checkpoints, room: int, answer: Connection) -> None:
    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
    answer.send(_refusal(checkpoints))


def _refusal(checkpoints: Checkpoints) -> str | None:
    try:
        checkpoints.save(0, checkpoint(2, NUMBERS))
    except CheckpointError as error:
        return str(error)
    return None
