"""What the ledger said it did is done, whatever stops right after: the server of a PostgreSQL database, or
the process that wrote to a SQLite file.

A worker writes down each call after it returned. All of that must be in the database at the end.
"""

import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from hpo_gn.budget import Ledger
from tests.chaos.databases import Databases, PostgreSQL, query
from tests.chaos.findings import Findings, Seen
from tests.chaos.processes import CONTEXT, Crew, Station, entries

CALLING, BETWEEN = 1, 2
EPOCHS = 8
_LIMIT = 2**31 - 1
_CALLS = 8
"""So many return before the next stop."""


@dataclass(frozen=True)
class Sizes:
    """How much of everything; the defaults are the long form's."""

    workers: int = 4
    server_stops: int = 20
    writer_kills: int = 200


SHORT = Sizes(server_stops=3, writer_kills=20)


class Caller:
    """Makes a worker's calls, and writes down each that returned."""

    def __init__(self, station: Station) -> None:
        self._station, self._diary = station, station.diary("returned")

    def __call__(self, name: str, function: Callable[[], Any], *about: object) -> Any:
        self._station.enter(CALLING)
        result = function()
        self._station.enter(BETWEEN)
        self._diary.write(name, *about or (result.key,))
        return result


def work(station: Station, url: str, done: Any) -> None:
    """Hold, charge, record and settle until it is enough."""
    call, ledger = Caller(station), Ledger(url, "study")
    while not done.value:
        run_trial(call, ledger, station.chance.randrange(2**31))


def run_trial(call: Caller, ledger: Ledger, trial: int) -> None:
    """A hold whose epochs are all charged and recorded."""
    with call("hold", partial(ledger.hold, trial, epochs=EPOCHS)) as hold:
        for epoch in range(1, EPOCHS + 1):
            call("charge", partial(hold.charge, epoch), hold.key, epoch)
            record = partial(hold.record, epoch, training_s=epoch + 0.25, measuring_s=0)
            call("record", record, hold.key, epoch)
        call("settle", hold.settle, hold.key)


def scenario(databases: Databases, sizes: Sizes) -> Findings:
    """Stop the server, or kill writers, while workers charge; then look for all that was acknowledged."""
    url, done = databases.new_url(), CONTEXT.RawValue("b", 0)
    Ledger(url, "study", limit=_LIMIT).close()
    with tempfile.TemporaryDirectory() as name:
        crew = Crew(partial(work, url=url, done=done), sizes.workers, Path(name))
        hits = (
            _stop_server(crew, databases, sizes.server_stops)
            if isinstance(databases, PostgreSQL)
            else _kill_writers(crew, sizes.writer_kills)
        )
        _wait_for_calls(crew)
        done.value = 1
        crew.wait(crew.finished)
        crew.end()
        returned, errors = entries(crew.folder, "returned"), crew.errors()
    least = sizes.server_stops if isinstance(databases, PostgreSQL) else sizes.writer_kills
    there = _in_database(url)
    lost = [words for words in returned if tuple(words) not in there]
    return Findings(
        seen={
            "stops": Seen(hits.total(), least),
            "stops in the midst of a call": Seen(hits[CALLING], least // 2),
            "calls acknowledged": Seen(len(returned), least * _CALLS),
        },
        broken={
            "acknowledged and lost": len(lost),
            "amounts that do not balance": _unbalanced(url),
            "errors that reached a worker": len(errors),
        },
        notes=tuple(errors[:3]),
    )


def _stop_server(crew: Crew, server: PostgreSQL, stops: int) -> Counter[int]:
    """Stop the server as it stands, by turns in both ways; how many stops hit a worker in a call."""
    hits: Counter[int] = Counter()
    for stop in range(stops):
        if not _wait_for_calls(crew):
            break
        hits[CALLING if CALLING in crew.phases else BETWEEN] += 1
        server.crash(kill=stop % 2 == 0)
        server.start()
    return hits


def _kill_writers(crew: Crew, kills: int) -> Counter[int]:
    """Kill workers, such as are in a call if there are any; how many were when they died."""
    chance = random.Random(0)
    hits: Counter[int] = Counter()
    for _ in range(kills):
        if not _wait_for_calls(crew):
            break
        time.sleep(chance.uniform(0, 0.01))
        calling = [number for number, phase in enumerate(crew.phases) if phase == CALLING]
        hits[crew.kill(chance.choice(calling or range(crew.count)))] += 1
    return hits


def _wait_for_calls(crew: Crew) -> bool:
    """Wait until some more calls have returned."""

    def size() -> int:
        return sum(path.stat().st_size for path in crew.folder.glob("returned-*"))

    enough = size() + 45 * _CALLS
    return crew.wait(lambda: size() >= enough)


def _in_database(url: str) -> set[tuple[str, ...]]:
    """What the database has, in the words of the diaries."""
    holds = query(url, "SELECT key, settled_at FROM hpo_gn_holds")
    charges = query(url, "SELECT hold, epoch, training_s FROM hpo_gn_charges")
    return {
        *(("hold", key) for key, _ in holds),
        *(("settle", key) for key, settled_at in holds if settled_at is not None),
        *(("charge", key, str(epoch)) for key, epoch, _ in charges),
        *(("record", key, str(epoch)) for key, epoch, took in charges if took == epoch + 0.25),
    }


def _unbalanced(url: str) -> int:
    """By how many of its two amounts the account differs from its holds and charges."""
    [(held, spent)] = query(url, "SELECT held, spent FROM hpo_gn_accounts")
    unused = "SELECT coalesce(sum(epochs - charged), 0) FROM hpo_gn_holds WHERE settled_at IS NULL"
    [(open_epochs,)] = query(url, unused)
    [(charged,)] = query(url, "SELECT count(*) FROM hpo_gn_charges")
    return (float(held) != float(open_epochs)) + (float(spent) != float(charged))
