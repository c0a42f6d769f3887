"""A process stopped past its lease (SIGSTOP) and continued (SIGCONT) may neither charge nor report.

The victims are stopped while they do nothing, since a process that is stopped inside a transaction of SQLite
keeps the others waiting until it is continued. In every second round another worker takes the trials over
before they wake up.
"""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from hpo_gn.budget import Hold, Ledger
from hpo_gn.errors import HoldClosedError, HpoGnError
from tests.chaos.databases import Databases, Query, reader
from tests.chaos.findings import Findings, Seen
from tests.chaos.processes import CONTEXT, PATIENCE_S

EPOCHS = 10
CALLS = ("charge", "charge again", "record", "confirm", "hold again")


@dataclass(frozen=True)
class Sizes:
    """How much of everything; the defaults are the long form's."""

    victims: int = 10
    rounds: int = 30
    lease_s: float = 0.5


SHORT = Sizes(victims=3, rounds=4)


def victim(pipe: Connection, url: str, lease_s: float) -> None:
    """In each round hold a trial, charge some epochs or none, and try everything after being woken."""
    ledger = Ledger(url, "study", lease_s=lease_s)
    while True:
        trial, charges = pipe.recv()
        with suppress(HpoGnError), ledger.hold(trial, epochs=EPOCHS) as hold:
            in_time = not any(_is_refused(hold.charge) for _ in range(charges))
            pipe.send(in_time)
            if in_time:
                pipe.recv()
                pipe.send(refused(ledger, hold))


def refused(ledger: Ledger, hold: Hold) -> list[str]:
    """The calls that are refused because the hold is closed."""
    calls: dict[str, Callable[[], object]] = {
        "charge": hold.charge,
        "charge again": lambda: hold.charge(1),
        "record": lambda: hold.record(1, training_s=1, measuring_s=1),
        "confirm": hold.confirm,
        "hold again": lambda: ledger.hold(hold.trial, epochs=EPOCHS, key=hold.key),
    }
    return [name for name in CALLS if _is_refused(calls[name])]


def _is_refused(call: Callable[[], object]) -> bool:
    try:
        call()
    except HpoGnError as error:
        return isinstance(error, HoldClosedError)
    return False


class Victim:
    """A process to stop and to continue."""

    def __init__(self, url: str, lease_s: float) -> None:
        self.pipe, theirs = CONTEXT.Pipe()
        self.process = CONTEXT.Process(target=victim, args=(theirs, url, lease_s), daemon=True)
        self.process.start()
        theirs.close()
        self.trial, self.is_stopped = -1, False

    def hold(self, trial: int, charges: int) -> None:
        """Let it hold and charge, and stop it, unless its lease was over before."""
        self.trial = trial
        self.pipe.send((trial, charges))
        self.is_stopped = self.receive()
        if self.is_stopped:
            self.signal(signal.SIGSTOP)

    def wake(self) -> list[str]:
        """Continue it; the calls that were refused."""
        self.signal(signal.SIGCONT)
        self.pipe.send("go on")
        return list(self.receive())

    def receive(self) -> Any:
        if not self.pipe.poll(PATIENCE_S):
            raise TimeoutError(f"the victim of trial {self.trial} says nothing")
        return self.pipe.recv()

    def signal(self, number: int) -> None:
        os.kill(self.process.pid or 0, number)


def scenario(databases: Databases, sizes: Sizes) -> Findings:
    """Stop the victims past their leases, continue them, and see what they can still do."""
    url = databases.new_url()
    Ledger(url, "study", limit=2**31 - 1).close()
    victims = [Victim(url, sizes.lease_s) for _ in range(sizes.victims)]
    counts: Counter[str] = Counter()
    ledger = Ledger(url, "study")
    try:
        with reader(url) as query:
            for number in range(sizes.rounds):
                for trial, each in enumerate(victims, start=number * sizes.victims):
                    each.hold(trial, charges=number % 3)
                time.sleep(sizes.lease_s + 0.2)
                stopped = [victim for victim in victims if victim.is_stopped]
                counts += _wake(stopped, ledger if number % 2 else None, query)
    except HpoGnError:
        counts["disturbed"] += 1
    finally:
        for each in victims:
            each.process.kill()
        ledger.close()
    return _findings(sizes, counts)


def _wake(stopped: list[Victim], taker: Ledger | None, query: Query) -> Counter[str]:
    """Take the trials over, if somebody does, and continue the victims; what happened how often."""
    taken = _take_over(taker, stopped) if taker else []
    before = _charges(query)
    refused = Counter(name for victim in stopped for name in victim.wake())
    changed = before != _charges(query)
    for hold in taken:
        hold.charge()
        hold.settle()
    return refused + Counter({"stops": len(stopped), "taken over": len(taken), "changed": int(changed)})


def _take_over(ledger: Ledger, stopped: list[Victim]) -> list[Hold]:
    """Hold the victims' trials, and charge an epoch of each."""
    # Should a victim have been stopped inside a transaction after all, everybody would wait for it.
    rescue = threading.Timer(10, lambda: [victim.signal(signal.SIGCONT) for victim in stopped])
    rescue.start()
    try:
        taken = [ledger.hold(victim.trial, epochs=EPOCHS) for victim in stopped]
        for hold in taken:
            hold.charge()
    finally:
        rescue.cancel()
    return taken


def _charges(query: Query) -> list[tuple[Any, ...]]:
    """All that was charged and recorded."""
    columns = "hold, epoch, training_s, measuring_s"
    return [
        *query("SELECT spent FROM hpo_gn_accounts"),
        *query(f"SELECT {columns} FROM hpo_gn_charges ORDER BY hold, epoch"),
    ]


def _findings(sizes: Sizes, counts: Counter[str]) -> Findings:
    least = sizes.victims * sizes.rounds * 9 // 10
    return Findings(
        seen={
            "stops past the lease": Seen(counts["stops"], least),
            "trials taken over meanwhile": Seen(counts["taken over"], least // 3),
            "calls refused after being continued": Seen(sum(counts[name] for name in CALLS), 1),
        },
        broken={
            **{f"{name} not refused": counts["stops"] - counts[name] for name in CALLS},
            "new holders of the trials disturbed": counts["disturbed"],
            "rounds in which charges or records changed": counts["changed"],
        },
    )
