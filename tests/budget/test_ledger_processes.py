"""Real processes on one SQLite ledger, killed or stopped at random moments."""

import contextlib
import multiprocessing
import os
import random
import signal
import sqlite3
import time
from pathlib import Path

import pytest

from hpo_gn.budget import Account, Ledger
from hpo_gn.errors import AlreadyHeldError, BudgetExhaustedError, HoldClosedError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]

CONTEXT = multiprocessing.get_context("fork")  # a fresh interpreter a kill would take most of the time
LIMIT, LEASE_S, WORKERS, KILLS = 300, 1.0, 4, 20


def work(url, diary):
    """Hold trials and charge their epochs until the budget is spent; write down each epoch that runs."""
    chance = random.Random(os.getpid())
    ledger = Ledger(url, "study", lease_s=LEASE_S)
    descriptor = os.open(diary, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    while (account := ledger.account()).spent < LIMIT:
        epochs = min(chance.randint(1, 8), account.left or 1)
        try:
            with ledger.hold(chance.randrange(20), epochs=epochs) as hold:
                for epoch in range(1, epochs + chance.randint(0, 1)):
                    hold.charge()
                    os.write(descriptor, f"{hold.key} {epoch}\n".encode())
                    hold.record(epoch, training_s=0.25, measuring_s=0.5)
        except (AlreadyHeldError, BudgetExhaustedError, HoldClosedError):
            time.sleep(0.02)


def observe(path, pipe):
    """Read the account's row every 2 ms, past the ledger, and tell what must never be seen."""
    connection = sqlite3.connect(path, timeout=60, isolation_level=None)
    seen, wrong, spent_before = 0, [], 0
    while not pipe.poll(0.002):
        row = connection.execute("SELECT held, spent, epoch_limit FROM hpo_gn_accounts").fetchone()
        held, spent, limit = row
        if held + spent > limit or held < 0 or spent < spent_before:
            wrong.append(row)
        spent_before, seen = spent, seen + 1
    connection.close()
    pipe.send((seen, wrong))


def test_killed_workers_overspend_nothing_and_lose_nothing(tmp_path):
    url, chance = f"sqlite:///{tmp_path}/study.db", random.Random(0)
    ledger = Ledger(url, "study", limit=LIMIT, lease_s=LEASE_S)

    def start(number):
        process = CONTEXT.Process(target=work, args=(url, tmp_path / f"diary-{number}"), daemon=True)
        process.start()
        return process

    workers = [start(number) for number in range(WORKERS)]
    ours, theirs = CONTEXT.Pipe()
    # No thread: a process must not fork while another of its threads is inside SQLite.
    observer = CONTEXT.Process(target=observe, args=(tmp_path / "study.db", theirs), daemon=True)
    observer.start()
    kills = 0
    while kills < KILLS:
        while ledger.account().spent < (kills + 1) * LIMIT / (KILLS + 1):
            time.sleep(0.02)
        time.sleep(chance.uniform(0, 0.05))
        victim = chance.randrange(WORKERS)
        workers[victim].kill()
        workers[victim].join()
        kills += 1
        workers[victim] = start(victim)
    for worker in workers:
        worker.join(30)
    ours.send("done")
    seen, wrong = ours.recv()
    observer.join()

    assert [worker.exitcode for worker in workers] == [0] * WORKERS
    assert seen > 50
    assert wrong == []
    assert ledger.account() == Account(limit=LIMIT, held=0, spent=LIMIT)
    with contextlib.closing(sqlite3.connect(tmp_path / "study.db")) as connection:
        charged = connection.execute("SELECT hold, epoch, training_s FROM hpo_gn_charges").fetchall()
    assert len(charged) == LIMIT
    lines = [line for diary in tmp_path.glob("diary-*") for line in diary.read_text().splitlines()]
    run = {(key, int(epoch)) for key, epoch in map(str.split, lines)}
    assert len(run) == len(lines)
    assert run <= {(hold, epoch) for hold, epoch, _ in charged}, "epochs run but not charged"
    assert LIMIT - len(run) <= kills, "more than one epoch a kill charged but not run"
    assert sum(seconds is None for *_, seconds in charged) <= kills
    assert ledger.seconds()[0] == 0.25 * sum(seconds is not None for *_, seconds in charged)


def test_what_the_dead_held_is_back_after_the_lease(tmp_path):
    """Also of a worker killed before its first charge."""
    url = f"sqlite:///{tmp_path}/study.db"
    ledger = Ledger(url, "study", limit=100, lease_s=LEASE_S)

    def hold_and_sleep(trial, charges):
        with Ledger(url, "study", lease_s=LEASE_S).hold(trial, epochs=10) as hold:
            for _ in range(charges):
                hold.charge()
            Path(tmp_path / f"ready-{trial}").touch()
            time.sleep(60)

    children = [
        CONTEXT.Process(target=hold_and_sleep, args=(trial, trial), daemon=True) for trial in range(3)
    ]
    for child in children:
        child.start()
    for trial in range(3):
        wait_for(tmp_path / f"ready-{trial}")
    time.sleep(1.5 * LEASE_S)
    assert ledger.account() == Account(limit=100, held=27, spent=3), "their heartbeats keep the living"
    for child in children:
        child.kill()
        child.join()
    killed = time.monotonic()
    while ledger.account().held:
        assert time.monotonic() < killed + LEASE_S + 1
        time.sleep(0.02)
    assert ledger.account() == Account(limit=100, held=0, spent=3)
    assert [ledger.deaths(trial) for trial in range(3)] == [1, 1, 1]


def wait_for(path):
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("reaped", [True, False])
def test_a_process_stopped_past_its_lease_is_refused(tmp_path, reaped):
    url = f"sqlite:///{tmp_path}/study.db"
    ledger = Ledger(url, "study", limit=100, lease_s=1.5)

    def charge_before_and_after(pipe):
        with Ledger(url, "study", lease_s=1.5).hold(0, epochs=10) as hold:
            hold.charge()
            pipe.send("charged")  # the lease's thread sleeps for 0.5 s more, so nothing is being written
            pipe.recv()
            pipe.send([outcome(hold.charge), outcome(lambda: record(hold))])

    ours, theirs = CONTEXT.Pipe()
    child = CONTEXT.Process(target=charge_before_and_after, args=(theirs,), daemon=True)
    child.start()
    assert ours.recv() == "charged"
    os.kill(child.pid, signal.SIGSTOP)
    time.sleep(2)
    if reaped:
        with ledger.hold(0, epochs=99):
            pass
    os.kill(child.pid, signal.SIGCONT)
    ours.send("go on")
    assert ours.poll(30)
    assert ours.recv() == [HoldClosedError, HoldClosedError]
    child.join(30)
    assert child.exitcode == 0
    assert ledger.account() == Account(limit=100, held=0, spent=1)
    assert ledger.seconds() == (0, 0)


def record(hold):
    hold.record(1, training_s=1, measuring_s=1)


def outcome(call):
    try:
        return call()
    except HoldClosedError as error:
        return type(error)
