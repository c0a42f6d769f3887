"""An account inside one transaction: its row locked, its clock read, its holds closed when they must be."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Double, RowMapping, bindparam, select, update

from hpo_gn.budget.amounts import plain
from hpo_gn.budget.clock import NOW, now_in
from hpo_gn.budget.schema import accounts, charges, holds
from hpo_gn.errors import ArgumentError, HoldClosedError

LAPSED, DIED = DEATHS = ("its lease lapsed", "its worker died")

_AMOUNTS = ("held", "spent", "measuring")

# The clock is read outside of the locking query, so after the wait for the lock.
_locked = select(accounts).where(accounts.c.id == bindparam("account")).with_for_update().subquery("locked")
_LOCK = select(_locked, NOW)
_MOVE = (
    update(accounts)
    .where(accounts.c.id == bindparam("account"))
    .values({name: accounts.c[name] + bindparam(f"add_{name}", type_=Double) for name in _AMOUNTS})
)
_FIND = (
    select(
        holds,
        charges.c.epoch,
        charges.c.training_s,
        charges.c.measuring_s,
    )
    .outerjoin(charges, (charges.c.hold == holds.c.key) & (charges.c.epoch == bindparam("epoch")))
    .where(holds.c.key == bindparam("key"), holds.c.account == bindparam("account"))
)
_UPDATE_HOLD = update(holds).where(holds.c.key == bindparam("hold"))


@dataclass(frozen=True)
class Account:
    """What an account says, in GPU×epochs: `held + spent <= limit` always.

    Args:
        limit: the budget.
        held: set aside for trials that run.
        spent: charged, `measuring` included.
        measuring: charged for the measures' own time.
    """

    limit: int
    held: float
    spent: float
    measuring: float = 0

    @property
    def left(self) -> float:
        """What may still be held."""
        return plain(self.limit - self.held - self.spent)


def read_account(row: RowMapping) -> Account:
    """What a row of the accounts says."""
    return Account(row["epoch_limit"], *(plain(row[name]) for name in _AMOUNTS))


class LockedAccount:
    """An account that nobody else can change until the transaction ends.

    Args:
        connection: of the transaction.
        account: the account's id.
    """

    def __init__(self, connection: Connection, account: int) -> None:
        row = connection.execute(_LOCK, {"account": account}).mappings().one()
        self.connection, self.id = connection, account
        self.balance = read_account(row)
        """The account as it stands in this transaction."""
        self.now = now_in(row)
        """The database's clock, read after the lock was waited for."""

    @property
    def open(self) -> Any:
        """The condition that a hold is the account's and open."""
        return (holds.c.account == self.id) & holds.c.settled_at.is_(None)

    def move(self, *, held: float, spent: float = 0, measuring: float = 0) -> None:
        """Add to what is held, spent and, within that, spent on measuring."""
        added = {"held": held, "spent": spent, "measuring": measuring}
        self.connection.execute(
            _MOVE, {"account": self.id} | {f"add_{name}": amount for name, amount in added.items()}
        )
        was = self.balance
        self.balance = Account(was.limit, *(plain(getattr(was, name) + added[name]) for name in _AMOUNTS))

    def change_limit(self, limit: int) -> None:
        """Raise the limit, or lower it to no less than what is held and spent.

        Raises:
            ArgumentError: the limit is less than that.
        """
        self.reap()
        used = plain(self.balance.held + self.balance.spent)
        if limit < used:
            raise ArgumentError(
                "budget", f"at least the {used} epochs that are already held and spent", limit
            )
        self.connection.execute(update(accounts).where(accounts.c.id == self.id).values(epoch_limit=limit))

    def find(self, key: str, epoch: int = 0) -> RowMapping:
        """A hold of the account, and of its charge for an epoch the number and seconds, or None for each.

        Raises:
            ArgumentError: it has none with that key.
        """
        values = {"account": self.id, "key": key, "epoch": epoch}
        found = self.connection.execute(_FIND, values).mappings().first()
        if found is None:
            raise ArgumentError("key", "that of a hold of this account", key)
        return found

    def find_live(self, key: str, epoch: int = 0) -> RowMapping:
        """A hold that is open and whose lease runs, found likewise.

        Raises:
            HoldClosedError: the hold is settled or its lease lapsed.
            ArgumentError: no hold has that key.
        """
        hold = self.find(key, epoch)
        if hold["settled_at"] is not None:
            raise HoldClosedError(f"the hold on trial {hold['trial']} is settled: {hold['reason']}")
        if hold["lease_until"] < self.now:
            late = self.now - hold["lease_until"]
            raise HoldClosedError(f"the lease on trial {hold['trial']} lapsed {late:.1f} s ago")
        return hold

    def renew(self, key: str, lease_s: float, **also: float) -> None:
        """Let a hold's lease run from now, and change other columns of it with that."""
        self._update(key, seen_at=self.now, lease_until=self.now + lease_s, **also)

    def reap(self) -> None:
        """Settle the holds whose lease lapsed."""
        self.settle_where(holds.c.lease_until < self.now, LAPSED)

    def settle_where(self, which: Any, reason: str) -> None:
        """Settle the open holds that a condition picks."""
        picked = self.connection.execute(select(holds).where(self.open & which)).mappings().all()
        for hold in picked:
            self.settle(hold, reason)

    def settle(self, hold: RowMapping, reason: str) -> None:
        """Close an open hold and return its uncharged epochs and what it kept for measuring."""
        self._update(hold["key"], settled_at=self.now, reason=reason[:256])
        self.move(held=-unused(hold))

    def _update(self, key: str, **values: float | str) -> None:
        self.connection.execute(_UPDATE_HOLD, {"hold": key} | values)


def reserve(hold: RowMapping) -> float:
    """What a hold still keeps for measuring, in GPU×epochs."""
    kept: float = hold["epochs"] * hold["gpus"] * hold["measuring"] - hold["measured"]
    return max(0.0, kept)


def unused(hold: RowMapping) -> float:
    """What a hold still holds: its uncharged epochs and what it keeps for measuring, in GPU×epochs."""
    epochs: float = (hold["epochs"] - hold["charged"]) * hold["gpus"]
    return epochs + reserve(hold)
