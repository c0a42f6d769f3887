"""The holds of dead workers are settled once their lease is over, kills before the first charge included."""

import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hpo_gn.budget import Ledger
from tests.chaos.databases import Databases, query, reader
from tests.chaos.findings import Findings, Seen
from tests.chaos.processes import CONTEXT, Crew, Station

STARTING, ASLEEP = 1, 2
EPOCHS = 10
INTERVAL_S = 0.05
"""How often somebody asks for the account."""
LAPSED, _OPEN = "its lease lapsed", "settled_at IS NULL"


@dataclass(frozen=True)
class Sizes:
    """How much of everything; the defaults are the long form's."""

    workers: int = 10
    kills: int = 300
    lease_s: float = 1.0
    grace_s: float = 1.0


SHORT = Sizes(workers=4, kills=8, grace_s=5.0)


def work(station: Station, url: str, lease_s: float) -> None:
    """Hold a trial, charge one or two of its epochs or none, and sleep while the lease is being renewed."""
    station.enter(STARTING)
    ledger = Ledger(url, "study", lease_s=lease_s)
    with ledger.hold(station.chance.randrange(2**31), epochs=EPOCHS) as hold:
        for _ in range(station.number % 3):
            hold.charge()
        station.diary("holds").write(hold.key)
        station.enter(ASLEEP)
        time.sleep(600)


@contextmanager
def asking(url: str) -> Iterator[None]:
    """Somebody asks for the account again and again while the context is open."""

    def ask() -> None:
        ledger = Ledger(url, "study")
        while True:
            ledger.account()
            time.sleep(INTERVAL_S)

    process = CONTEXT.Process(target=ask, daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def scenario(databases: Databases, sizes: Sizes) -> Findings:
    """Kill sleeping workers at any moment between two renewals, and read when their holds were settled."""
    url = databases.new_url()
    Ledger(url, "study", limit=2**31 - 1).close()
    with tempfile.TemporaryDirectory() as name, asking(url):
        crew = Crew(partial(work, url=url, lease_s=sizes.lease_s), sizes.workers, Path(name))
        killed = _kill(crew, sizes)
        crew.end()
        errors = crew.errors()
        _wait_until_settled(url, sizes)
    return _findings(url, sizes, killed, errors)


def _kill(crew: Crew, sizes: Sizes) -> dict[str, float]:
    """Kill one worker after the other; when, by the key of its hold."""
    chance, killed = random.Random(0), {}
    for kill in range(sizes.kills):
        number = kill % sizes.workers
        if not crew.wait(lambda number=number: crew.phases[number] == ASLEEP):
            break
        # On average it has then slept a little longer than its lease.
        time.sleep(chance.uniform(0, 2.5 * sizes.lease_s / sizes.workers))
        now = time.time()
        crew.kill(number)
        killed[(crew.folder / f"holds-{number}").read_text().split()[-1]] = now
    return killed


def _wait_until_settled(url: str, sizes: Sizes) -> None:
    deadline = time.monotonic() + sizes.lease_s + sizes.grace_s + 1
    with reader(url) as query:
        while query(f"SELECT 1 FROM hpo_gn_holds WHERE {_OPEN}") and time.monotonic() < deadline:
            time.sleep(INTERVAL_S)


def _findings(url: str, sizes: Sizes, killed: dict[str, float], errors: list[str]) -> Findings:
    columns = "key, charged, held_at, lease_until, settled_at, reason"
    rows = query(url, f"SELECT {columns} FROM hpo_gn_holds")
    victims = [row for row in rows if row[0] in killed]
    delays = [at - killed[key] for key, *_, at, _ in victims if at is not None]
    old = sum(killed[key] - held_at > sizes.lease_s for key, _, held_at, *_ in victims)
    latest = sizes.lease_s + sizes.grace_s
    [(held,)] = query(url, "SELECT held FROM hpo_gn_accounts")
    return Findings(
        seen={
            "kills": Seen(len(victims), sizes.kills),
            "kills of workers older than the lease": Seen(old, sizes.kills // 5),
            "kills before the first charge": Seen(sum(not row[1] for row in victims), sizes.kills // 4),
        },
        broken={
            "dead holds never settled": sum(at is None for *_, at, _ in rows),
            f"settled later than lease + {sizes.grace_s:g} s": sum(delay > latest for delay in delays),
            "settled while the lease ran": sum(until > (at or until) for *_, until, at, _ in rows),
            "settled while the worker lived": sum(delay < 0 for delay in delays),
            "settled for another reason": sum(reason not in (None, LAPSED) for *_, reason in victims),
            "held at the end": int(held),
            "errors that reached a worker": len(errors),
        },
        facts={"largest delay after the kill": f"{max(delays, default=0):.2f} s; lease {sizes.lease_s:g} s"},
        notes=tuple(errors[:3]),
    )
