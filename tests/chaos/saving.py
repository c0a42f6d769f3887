"""What may happen to a checkpoint while it is written and after: its writer is killed, its bytes change, its
disk is full. Each scenario does it for real and counts what came of it.
"""

import contextlib
import random
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from hpo_gn.checkpoint import Checkpoints
from hpo_gn.local_files import TEMPORARY
from tests.chaos.full_disk import fill_disk
from tests.chaos.saved import NUMBERS, PATIENCE_S, checkpoint, forked, is_whole, names_in


@dataclass(frozen=True)
class Kills:
    """What was found after each kill of a writer."""

    kills: int
    mid_write: int
    """Kills that left a half-written file under its temporary name."""
    unreadable: int
    """Kills after which the file of the last epoch was not whole."""
    lost: int
    """Kills after which an epoch whose writing had been acknowledged was not to be had."""
    leftovers: int
    """Files that were too many after the next start and checkpoint."""

    def __str__(self) -> str:
        return (
            f"unreadable {self.unreadable}, acknowledged and lost {self.lost}, left over {self.leftovers}; "
            f"{self.mid_write} of the kills were in mid-write"
        )


@dataclass(frozen=True)
class Damages:
    """What reading did about each truncation and flipped bit."""

    damaged: int
    detected: int
    previous_used: int
    said: int

    def __str__(self) -> str:
        return (
            f"detected {self.detected}, previous one used {self.previous_used}, said {self.said} "
            f"of {self.damaged}"
        )


def kill_writers(root: str, *, kills: int, numbers: int = NUMBERS) -> Kills:
    """Kill a process that saves without a pause, again and again, each going on from what the last one left.

    One kill comes at a random moment, the next as soon as a half-written file is seen.

    Args:
        root: where the checkpoints go.
        kills: how many.
        numbers: in a state; 4 bytes each.
    """
    chance, checkpoints = random.Random(0), Checkpoints(root)
    mid_write = unreadable = lost = 0
    for number in range(kills):
        with _writer(root, numbers) as acknowledged:
            time.sleep(chance.uniform(0, 0.05))
            if number % 2:
                _await_half_written(checkpoints)
        mid_write += _is_half_written(checkpoints)
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            found = checkpoints.latest(0)
        unreadable += bool(said) or found is None or not is_whole(found, numbers)
        lost += found is None or found.epoch < acknowledged[-1]
    checkpoints.rewind(0, 10**9)
    checkpoints.save(0, checkpoint(10**9, numbers))
    return Kills(kills, mid_write, unreadable, lost, leftovers=len(names_in(checkpoints)) - 2)


def damage(root: str, *, damages: int) -> Damages:
    """Truncate the newer of two checkpoints, or flip a bit of it, and read.

    Args:
        root: where the checkpoints go.
        damages: how many; every other one is a truncation.
    """
    chance, checkpoints = random.Random(0), Checkpoints(root)
    for epoch in (1, 2):
        checkpoints.save(0, checkpoint(epoch, 1000))
    path = Path(root) / "trial-0" / "epoch-2.pt"
    whole = path.read_bytes()
    detected = previous_used = said = 0
    for number in range(damages):
        place = chance.randrange(len(whole))
        path.write_bytes(whole[:place] if number % 2 else _flipped(whole, place, chance.randrange(8)))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = checkpoints.latest(0)
        detected += found is None or found.epoch != 2
        previous_used += found is not None and found.epoch == 1 and is_whole(found, 1000)
        expected = ["checkpoint epoch-2.pt of trial-0 is damaged; trying the one before it"]
        said += [str(warning.message) for warning in caught] == expected
    return Damages(damages, detected, previous_used, said)


def figures(long: bool) -> dict[str, str]:
    """What was done, and what came out.

    Args:
        long: as often as the project promises; else a tenth of that.
    """
    kills, damages, points = (1000, 200, 20) if long else (100, 20, 20)
    found: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        found[f"{kills} kills while saving"] = str(kill_writers(f"{folder}/kills", kills=kills))
        through = f"dir://kills-through-fsspec::file://{folder}"
        fewer = kills // 5
        found[f"{fewer} kills while saving through fsspec"] = str(kill_writers(through, kills=fewer))
        found[f"{damages} truncations and bit flips"] = str(damage(f"{folder}/damage", damages=damages))
    found[f"a full disk at {points} points"] = str(fill_disk(points=points))
    return found


def _flipped(data: bytes, place: int, bit: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]


@contextlib.contextmanager
def _writer(root: str, numbers: int) -> Iterator[list[int]]:
    """A process that saves until it is killed at the end; the list then holds what it had acknowledged."""
    writer, acknowledgements = forked(_save_for_ever, root, numbers)
    acknowledged: list[int] = []
    try:
        if not acknowledgements.poll(PATIENCE_S):
            raise RuntimeError("the writer saved nothing")
        yield acknowledged
    finally:
        writer.kill()
        writer.join()
        with contextlib.suppress(EOFError, OSError):  # an OSError if killed within a message
            while True:
                acknowledged.append(acknowledgements.recv())
        acknowledgements.close()


def _await_half_written(checkpoints: Checkpoints) -> None:
    end = time.monotonic() + 0.1  # one that writes in place has none
    while time.monotonic() < end and not _is_half_written(checkpoints):
        pass


def _is_half_written(checkpoints: Checkpoints) -> bool:
    return any(name.endswith(TEMPORARY) for name in names_in(checkpoints))


def _save_for_ever(root: str, numbers: int, acknowledgements: Connection) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    checkpoints = Checkpoints(root)
    last = checkpoints.latest(0)
    epoch = last.epoch if last else 0
    checkpoints.rewind(0, epoch)
    while True:
        epoch += 1
        checkpoints.save(0, checkpoint(epoch, numbers))
        acknowledgements.send(epoch)
