"""Somebody who reads the account's row every 2 ms, past the ledger."""

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

from tests.chaos.databases import reader
from tests.chaos.processes import CONTEXT

INTERVAL_S = 0.002


@dataclass
class Observed:
    """What an observer saw.

    Args:
        reads: how often it read the row.
        locked: how often it could not, since a commit was being written to the SQLite file.
        seconds: how long it observed.
        overspent: held, spent and limit of rows with more held and spent than the limit, or less than 0 held.
        forgotten: what was spent, and before that, where the later is less.
    """

    reads: int = 0
    locked: int = 0
    seconds: float = 0.0
    overspent: list[tuple[float, ...]] = field(default_factory=list)
    forgotten: list[tuple[float, ...]] = field(default_factory=list)


@contextlib.contextmanager
def observing(url: str) -> Iterator[Observed]:
    """Observe while the context is open; what was seen is there when it is left."""
    ours, theirs = CONTEXT.Pipe()
    process = CONTEXT.Process(target=_observe, args=(url, theirs), daemon=True)
    process.start()
    theirs.close()
    seen = Observed()
    try:
        yield seen
    finally:
        ours.send("done")
        seen.__dict__.update(ours.recv().__dict__)
        process.join()


def _observe(url: str, pipe: Connection) -> None:
    seen, spent_before, began = Observed(), 0.0, time.monotonic()
    # SQLite itself would wait for up to 100 ms before it looks again whether the file is locked.
    with reader(url, patience_s=0) as query:
        while not pipe.poll(INTERVAL_S):
            try:
                [row] = query("SELECT held, spent, epoch_limit FROM hpo_gn_accounts")
            except sqlite3.OperationalError:
                seen.locked += 1
                continue
            held, spent, limit = map(float, row)
            seen.reads += 1
            if held + spent > limit or held < 0:
                seen.overspent.append((held, spent, limit))
            if spent < spent_before:
                seen.forgotten.append((spent, spent_before))
            spent_before = spent
    seen.seconds = time.monotonic() - began
    pipe.send(seen)
