"""Workers on one ledger, killed with `kill -9` at random moments while an observer reads the account.

Each worker appends every epoch it runs to a file that the ledger knows nothing of.
"""

import random
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sqlalchemy import Engine, event

from hpo_gn.budget import Hold, Ledger
from hpo_gn.errors import AlreadyHeldError, BudgetExhaustedError, HoldClosedError, HpoGnError
from tests.chaos.databases import Databases, query
from tests.chaos.findings import Findings, Seen
from tests.chaos.observer import Observed, observing
from tests.chaos.processes import Crew, Diary, Station, entries

PHASES = ("opening", "holding", "held, nothing charged", "charging", "running", "settling")
OPENING, HOLDING, HELD, CHARGING, RUNNING, SETTLING = range(1, 7)
_AIMS = (0, OPENING, 0, HELD, 0, HOLDING, 0, SETTLING)
"""What is hit in turn; 0: whatever the worker is at, which is a charge mostly. After a kill another opens."""
_LINE = len(f"{'k' * 32} {1:3}\n")


@dataclass(frozen=True)
class Sizes:
    """How much of everything; the defaults are the long form's."""

    workers: int = 8
    epochs: int = 60_000
    kills: int = 1_000
    lease_s: float = 2.0


SHORT = Sizes(workers=4, epochs=300, kills=24, lease_s=1.0)


def work(station: Station, url: str, sizes: Sizes) -> None:
    """Hold trials and run their epochs until the budget is spent."""
    diary, chance = station.diary("run"), station.chance
    refusals = station.diary("refusals")
    event.listen(Engine, "handle_error", lambda context: refusals.write(context.original_exception))
    station.enter(OPENING)
    ledger = Ledger(url, "study", limit=sizes.epochs, lease_s=sizes.lease_s)  # with a limit it writes
    left = sizes.epochs
    while left:
        station.enter(HOLDING)
        try:
            with ledger.hold(chance.randrange(200), epochs=min(left, chance.randint(1, 24))) as hold:
                run_trial(station, hold, diary)
        except (AlreadyHeldError, HoldClosedError):
            continue
        except BudgetExhaustedError:
            account = ledger.account()
            left = int(account.left or account.held)
            if not account.left:
                time.sleep(0.02)
    ledger.close()


def run_trial(station: Station, hold: Hold, diary: Diary) -> None:
    """Charge and run a hold's epochs; one trial in four gives up. A call in ten is replayed."""
    chance = station.chance
    station.enter(HELD)
    time.sleep(chance.uniform(0, 0.002))  # a trial builds its model
    for epoch in range(1, 1 + hold.epochs - (chance.random() < 0.25)):
        station.enter(CHARGING)
        for _ in range(1 + (chance.random() < 0.1)):
            hold.charge(epoch)
        station.enter(RUNNING)
        diary.write(hold.key, f"{epoch:3}")
    station.enter(SETTLING)


def scenario(databases: Databases, sizes: Sizes) -> Findings:
    """Kill workers until the budget is spent, and compare what ran with what was charged."""
    url = databases.new_url()
    Ledger(url, "study", limit=sizes.epochs, lease_s=sizes.lease_s).close()
    with tempfile.TemporaryDirectory() as name, observing(url) as observed:
        crew = Crew(partial(work, url=url, sizes=sizes), sizes.workers, Path(name))
        hits = _kill(crew, sizes)
        crew.end()
        run, refusals = entries(Path(name), "run"), entries(Path(name), "refusals")
        errors = crew.errors()
    time.sleep(sizes.lease_s)
    errors += _settle_the_last(url)
    return _findings(url, sizes, hits, observed, [(key, int(epoch)) for key, epoch in run], errors, refusals)


def _settle_the_last(url: str) -> list[str]:
    """Settle the holds of the last victims; the error if that cannot be done."""
    ledger = Ledger(url, "study")
    try:
        ledger.account()
    except HpoGnError as error:
        return [str(error)]
    finally:
        ledger.close()
    return []


def _kill(crew: Crew, sizes: Sizes) -> Counter[int]:
    """Kill a worker each time some more epochs have run; how often each phase was hit."""
    hits: Counter[int] = Counter()
    chance = random.Random(0)
    for kill in range(sizes.kills):
        aim = _AIMS[kill % len(_AIMS)]
        target = (kill + (aim != OPENING)) * sizes.epochs / (sizes.kills + 1)
        if not crew.wait(lambda target=target: _count(crew.folder) >= target):
            break
        hits[crew.kill(_victim(crew, chance, aim))] += 1
    crew.wait(lambda: crew.finished() or _count(crew.folder) > sizes.epochs)
    return hits


def _victim(crew: Crew, chance: random.Random, aim: int) -> int:
    deadline = time.monotonic() + 1
    while aim and time.monotonic() < deadline:
        at_it = [number for number, phase in enumerate(crew.phases) if phase == aim]
        if at_it:
            time.sleep(chance.uniform(0, 0.004) if aim == OPENING else 0)
            return chance.choice(at_it)
        time.sleep(0.0002)
    time.sleep(chance.uniform(0, 0.01))
    return chance.randrange(crew.count)


def _count(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("run-*")) // _LINE


def _findings(
    url: str,
    sizes: Sizes,
    hits: Counter[int],
    observed: Observed,
    run: list[tuple[str, int]],
    errors: list[str],
    refusals: list[list[str]],
) -> Findings:
    [(held, spent)] = query(url, "SELECT held, spent FROM hpo_gn_accounts")
    [(left_open,)] = query(url, "SELECT count(*) FROM hpo_gn_holds WHERE settled_at IS NULL")
    charged = {(key, epoch) for key, epoch in query(url, "SELECT hold, epoch FROM hpo_gn_charges")}
    kills, tries = hits.total(), observed.reads + observed.locked or 1
    return Findings(
        seen={
            "kills": Seen(kills, sizes.kills),
            **{f"kills while {PHASES[p - 1]}": Seen(hits[p]) for p in (OPENING, HOLDING, HELD, CHARGING)},
            "observer's reads": Seen(observed.reads, sizes.epochs // 8),
            "epochs run": Seen(len(run), sizes.epochs - kills),
        },
        broken={
            "reads that were overspent": len(observed.overspent),
            "reads that had forgotten": len(observed.forgotten),
            "epochs run beyond the limit": max(0, len(run) - sizes.epochs),
            "epochs run but not charged": len(set(run) - charged),
            "epochs run twice on one charge": len(run) - len(set(run)),
            "charged but not run, beyond one a kill": max(0, len(charged - set(run)) - kills),
            "held at the end": int(held),
            "holds open at the end": left_open,
            "spent at the end is not the limit, by": abs(int(spent) - sizes.epochs),
            "charges at the end are not the limit, by": abs(len(charged) - sizes.epochs),
            "errors that reached a worker": len(errors),
            "errors that a ledger had from its database": len(refusals),
        },
        facts={
            "charged but not run": f"{len(charged - set(run)):,}",
            "tries to read that met a commit": f"{observed.locked:,}",
            "mean time between two tries": f"{1000 * observed.seconds / tries:.1f} ms",
        },
        notes=(*errors[:3], *(" ".join(words) for words in refusals[:1])),
    )
