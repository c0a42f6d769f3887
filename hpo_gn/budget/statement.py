"""A statement: what an account's rows say of its workers and trials, read without changing any."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, func, select

from hpo_gn.budget.account import DEATHS, Account, read_account, unused
from hpo_gn.budget.amounts import plain
from hpo_gn.budget.clock import NOW, now_in
from hpo_gn.budget.schema import accounts, charges, holds

_SECONDS = ("training_s", "measuring_s")


@dataclass(frozen=True)
class WorkerEntry:
    """What one owner of holds has done.

    Args:
        owner: its name.
        trials: those it holds, lapsed leases that nobody has settled yet included.
        epochs: charged in all.
        training_s: seconds of training recorded.
        measuring_s: seconds of measuring recorded.
        last_seen_s: seconds since it last held, charged, recorded or renewed.
        deaths: how many of its holds were settled because it was dead.
    """

    owner: str
    trials: tuple[int, ...]
    epochs: int
    training_s: float
    measuring_s: float
    last_seen_s: float
    deaths: int


@dataclass(frozen=True)
class TrialEntry:
    """What one trial has cost, over all its holds.

    Args:
        trial: its number.
        owner: who holds it, or None.
        epochs: charged.
        spent: GPU×epochs charged, measuring included.
        held: GPU×epochs still set aside.
        training_s: seconds of training recorded.
        measuring_s: seconds of measuring recorded.
        lease_left_s: seconds until its lease lapses, negative if it has and nobody has settled it yet; None
            if nobody holds the trial.
        deaths: how many workers died while they held it.
    """

    trial: int
    owner: str | None
    epochs: int
    spent: float
    held: float
    training_s: float
    measuring_s: float
    lease_left_s: float | None
    deaths: int


@dataclass(frozen=True)
class Statement:
    """An account at one moment, with its workers by name and its trials by number."""

    account: Account
    workers: tuple[WorkerEntry, ...]
    trials: tuple[TrialEntry, ...]


def read_statement(connection: Connection, account: int) -> Statement:
    """The statement of an account, lapsed leases as they are recorded: held.

    Args:
        connection: of a transaction that sees one moment.
        account: the account's id.
    """
    which = accounts.c.id == account
    row = connection.execute(select(accounts, NOW).where(which)).mappings().one()
    now = now_in(row)
    workers, trials = defaultdict(list), defaultdict(list)
    for hold in connection.execute(_holds_of(account)).mappings():
        workers[hold["owner"]].append(hold)
        if hold["trial"] >= 0:
            trials[hold["trial"]].append(hold)
    return Statement(
        read_account(row),
        tuple(_worker(owner, mine, now) for owner, mine in sorted(workers.items())),
        tuple(_trial(trial, its, now) for trial, its in sorted(trials.items())),
    )


def _holds_of(account: int) -> Any:
    took = (
        select(charges.c.hold, *(func.sum(charges.c[name]).label(name) for name in _SECONDS))
        .join(holds)
        .where(holds.c.account == account)
        .group_by(charges.c.hold)
        .subquery()
    )
    seconds = (
        func.coalesce(column, 0.0).label(column.name) for column in (took.c.training_s, took.c.measuring_s)
    )
    return (
        select(holds, *seconds)
        .outerjoin(took, took.c.hold == holds.c.key)
        .where(holds.c.account == account)
        .order_by(holds.c.trial)
    )


def _worker(owner: str, mine: Sequence[RowMapping], now: float) -> WorkerEntry:
    return WorkerEntry(
        owner,
        trials=tuple(hold["trial"] for hold in mine if hold["trial"] >= 0 and hold["settled_at"] is None),
        epochs=sum(hold["charged"] for hold in mine),
        last_seen_s=max(0.0, now - max(hold["seen_at"] for hold in mine)),
        **_totals(mine),
    )


def _trial(trial: int, its: Sequence[RowMapping], now: float) -> TrialEntry:
    current = next((hold for hold in its if hold["settled_at"] is None), None)
    return TrialEntry(
        trial,
        owner=current["owner"] if current else None,
        epochs=sum(hold["charged"] for hold in its),
        spent=plain(sum(hold["charged"] * hold["gpus"] + hold["measured"] for hold in its)),
        held=plain(unused(current)) if current else 0,
        lease_left_s=current["lease_until"] - now if current else None,
        **_totals(its),
    )


def _totals(some: Sequence[RowMapping]) -> dict[str, Any]:
    seconds = {name: sum(hold[name] for hold in some) for name in _SECONDS}
    return seconds | {"deaths": sum(hold["reason"] in DEATHS for hold in some)}
