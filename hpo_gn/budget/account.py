"""An account inside one transaction: its row locked, its clock read, its holds closed when they must be."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, RowMapping, insert, select, update

from hpo_gn.budget.schema import accounts, holds
from hpo_gn.errors import ArgumentError, HoldClosedError

LAPSED, DIED = DEATHS = ("its lease lapsed", "its worker died")


@dataclass(frozen=True)
class Account:
    """What an account says, in GPU×epochs: `held + spent <= limit` always."""

    limit: int
    held: int
    spent: int

    @property
    def left(self) -> int:
        """What may still be held."""
        return self.limit - self.held - self.spent


class LockedAccount:
    """An account that nobody else can change until the transaction ends.

    Args:
        connection: of the transaction.
        account: the account's id.
        now: the database's clock, read after the lock was waited for.
    """

    def __init__(self, connection: Connection, account: int, now: float) -> None:
        self.connection, self.id, self.now = connection, account, now

    @property
    def open(self) -> Any:
        """The condition that a hold is the account's and open."""
        return (holds.c.account == self.id) & holds.c.settled_at.is_(None)

    def read(self) -> Account:
        """The account as it stands in this transaction."""
        row = self.connection.execute(select(accounts).where(accounts.c.id == self.id)).mappings().one()
        return Account(row["epoch_limit"], row["held"], row["spent"])

    def move(self, *, held: int, spent: int = 0) -> None:
        """Add to what is held and spent."""
        changed = {"held": accounts.c.held + held, "spent": accounts.c.spent + spent}
        self.connection.execute(update(accounts).where(accounts.c.id == self.id).values(changed))

    def change_limit(self, limit: int) -> None:
        """Raise the limit, or lower it to no less than what is held and spent.

        Raises:
            ArgumentError: the limit is less than that.
        """
        self.reap()
        account = self.read()
        if limit < account.held + account.spent:
            rule = f"at least the {account.held + account.spent} epochs that are already held and spent"
            raise ArgumentError("budget", rule, limit)
        self.connection.execute(update(accounts).where(accounts.c.id == self.id).values(epoch_limit=limit))

    def find(self, key: str) -> RowMapping:
        """A hold of the account.

        Raises:
            ArgumentError: it has none with that key.
        """
        which = (holds.c.account == self.id) & (holds.c.key == key)
        found = self.connection.execute(select(holds).where(which)).mappings().first()
        if found is None:
            raise ArgumentError("key", "that of a hold of this account", key)
        return found

    def find_live(self, key: str) -> RowMapping:
        """A hold that is open and whose lease runs.

        Raises:
            HoldClosedError: the hold is settled or its lease lapsed.
            ArgumentError: no hold has that key.
        """
        hold = self.find(key)
        if hold["settled_at"] is not None:
            raise HoldClosedError(f"the hold on trial {hold['trial']} is settled: {hold['reason']}")
        if hold["lease_until"] < self.now:
            late = self.now - hold["lease_until"]
            raise HoldClosedError(f"the lease on trial {hold['trial']} lapsed {late:.1f} s ago")
        return hold

    def renew(self, key: str, lease_s: float, **also: Any) -> None:
        """Let a hold's lease run from now, and change other columns of it with that."""
        values = dict(also, lease_until=self.now + lease_s)
        self.connection.execute(update(holds).where(holds.c.key == key).values(values))

    def reap(self) -> None:
        """Settle the holds whose lease lapsed."""
        self.settle_where(holds.c.lease_until < self.now, LAPSED)

    def settle_where(self, which: Any, reason: str) -> None:
        """Settle the open holds that a condition picks."""
        picked = self.connection.execute(select(holds).where(self.open & which)).mappings().all()
        for hold in picked:
            self.settle(hold, reason)

    def settle(self, hold: RowMapping, reason: str) -> None:
        """Close an open hold and return its uncharged epochs."""
        closed = {"settled_at": self.now, "reason": reason[:256]}
        self.connection.execute(update(holds).where(holds.c.key == hold["key"]).values(closed))
        self.move(held=-(hold["epochs"] - hold["charged"]) * hold["gpus"])


def find_account(connection: Connection, study: str) -> int | None:
    """The id of a study's account, if it has one."""
    found: int | None = connection.execute(
        select(accounts.c.id).where(accounts.c.study == study)
    ).scalar_one_or_none()
    return found


def make_account(connection: Connection, study: str, limit: int) -> int:
    """Open an account for a study; its id."""
    made = connection.execute(insert(accounts).values(study=study, epoch_limit=limit, held=0, spent=0))
    return int(made.inserted_primary_key[0])  # type: ignore[index]
