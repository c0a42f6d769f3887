"""The ledger: an account of GPU×epochs that no number of workers, dead or alive, can overspend."""

import os
import socket
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import optuna
from sqlalchemy import Connection, RowMapping, func, insert, select, update

from hpo_gn.budget.database import Database
from hpo_gn.budget.hold import Hold
from hpo_gn.budget.schema import accounts, charges, create, holds
from hpo_gn.errors import AlreadyHeldError, ArgumentError, BudgetExhaustedError, HoldClosedError, StorageError

LEASE_S = 60.0
_TURN = -1
_LAPSED, _DIED = _DEATHS = ("its lease lapsed", "its worker died")


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


class Ledger:
    """The budget of one study.

    A trial's epochs are held before it starts, each epoch is charged before it runs, and settling returns
    what was not used::

        ledger = Ledger.of_study(study, limit=256)

        def objective(trial):
            with ledger.hold(trial, epochs=8) as hold:
                for epoch in range(1, 9):
                    hold.charge()
                    train_one_epoch()

    Args:
        url: an SQLAlchemy URL of a SQLite file or a PostgreSQL database.
        study: the account's name.
        limit: the account's limit in GPU×epochs; None opens an account that exists. A larger limit than the
            one on record raises it.
        lease_s: seconds after which a hold that was neither charged nor renewed is settled for its dead
            worker.
        owner: who the holds belong to; host, process and a random token unless given.

    Raises:
        ArgumentError: a limit that is not a positive integer, or smaller than what is held and spent.
        StorageError: the database cannot be opened, or has no such account.
    """

    def __init__(
        self,
        url: str,
        study: str,
        *,
        limit: int | None = None,
        lease_s: float = LEASE_S,
        owner: str | None = None,
    ) -> None:
        if limit is not None and not _positive_integer(limit):
            raise ArgumentError("budget", "a positive integer of GPU×epochs", limit)
        if not lease_s > 0:
            raise ArgumentError("lease_s", "a positive number of seconds", lease_s)
        self.study, self.lease_s = study, float(lease_s)
        self.database = Database(url)
        self.owner = owner or f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        with self.database.transaction() as connection:
            create(connection)
            self._id = self._open_account(connection, limit)

    @classmethod
    def of_study(
        cls,
        study: optuna.Study,
        *,
        limit: int | None = None,
        url: str | None = None,
        lease_s: float = LEASE_S,
    ) -> "Ledger":
        """The ledger of an Optuna study, in the study's own database unless a URL is given.

        Raises:
            ArgumentError: the study's storage is no database and no URL is given.
        """
        return cls(url or storage_url(study), study.study_name, limit=limit, lease_s=lease_s)

    def _open_account(self, connection: Connection, limit: int | None) -> int:
        found = connection.execute(select(accounts).where(accounts.c.study == self.study)).mappings().first()
        if found is None:
            if limit is None:
                raise StorageError(f"the ledger at {self.database} has no account for study {self.study!r}")
            made = connection.execute(
                insert(accounts).values(study=self.study, epoch_limit=limit, held=0, spent=0)
            )
            return int(made.inserted_primary_key[0])  # type: ignore[index]
        if limit is not None and limit != found["epoch_limit"]:
            self._change_limit(connection, found, limit)
        return int(found["id"])

    def _change_limit(self, connection: Connection, account: RowMapping, limit: int) -> None:
        used = account["held"] + account["spent"]
        if limit < used:
            raise ArgumentError(
                "budget", f"at least the {used} epochs that are already held and spent", limit
            )
        connection.execute(update(accounts).where(accounts.c.id == account["id"]).values(epoch_limit=limit))

    def account(self) -> Account:
        """The account as it stands, lapsed leases settled first."""
        with self.database.transaction() as connection:
            self._reap(connection, self.database.now(connection))
            return _account(self._lock(connection))

    def hold(
        self, trial: int | optuna.trial.BaseTrial, *, epochs: int, gpus: int = 1, key: str | None = None
    ) -> Hold:
        """Set a trial's epochs aside, so that a trial that starts can finish.

        Args:
            trial: the trial or its number.
            epochs: how many epochs it may run.
            gpus: GPUs it uses at once; an epoch costs that many.
            key: the hold's idempotency key; asking again with the same key gives the same hold.

        Raises:
            AlreadyHeldError: another worker holds the trial.
            BudgetExhaustedError: the account has not that much left.
            HoldClosedError: the key is that of a settled hold, or of a hold with other arguments.
        """
        for name, value in (("epochs", epochs), ("gpus", gpus)):
            if not _positive_integer(value):
                raise ArgumentError(name, "a positive integer", value)
        number = trial if isinstance(trial, int) else int(trial.number)
        wanted = {"trial": number, "epochs": epochs, "gpus": gpus, "owner": self.owner}
        key = key or uuid.uuid4().hex
        self._hold(key, wanted)
        return Hold(self, key, number, epochs)

    def _hold(self, key: str, wanted: Mapping[str, Any]) -> None:
        with self.database.transaction() as connection:
            now = self.database.now(connection)
            self._lock(connection)
            if not self._repeated(connection, key, wanted):
                self._reap(connection, now)
                self._refuse_second(connection, wanted["trial"])
                self._insert(connection, self._lock(connection), key, wanted, now)

    def _repeated(self, connection: Connection, key: str, wanted: Mapping[str, Any]) -> bool:
        found = connection.execute(select(holds).where(holds.c.key == key)).mappings().first()
        if found is None:
            return False
        if found["settled_at"] is not None or any(found[name] != value for name, value in wanted.items()):
            raise HoldClosedError(f"hold {key} is settled or was made with other arguments")
        return True

    def _refuse_second(self, connection: Connection, trial: int) -> None:
        other = connection.execute(
            select(holds.c.owner).where(self._open & (holds.c.trial == trial))
        ).scalar_one_or_none()
        if other is not None:
            raise AlreadyHeldError(f"trial {trial} is held by {other}")

    def _insert(
        self, connection: Connection, account: RowMapping, key: str, wanted: Mapping[str, Any], now: float
    ) -> None:
        cost, left = wanted["epochs"] * wanted["gpus"], _account(account).left
        if cost > left:
            raise BudgetExhaustedError(
                f"trial {wanted['trial']} needs {cost} GPU×epochs, and the account has {left} left"
            )
        row = dict(wanted, key=key, account=self._id, charged=0, held_at=now, lease_until=now + self.lease_s)
        connection.execute(insert(holds).values(row))
        self._move(connection, held=cost)

    def charge(self, key: str, epoch: int) -> None:
        """Charge one epoch of a hold, before it runs, and renew the lease. Charging the same epoch again
        changes nothing.

        Raises:
            HoldClosedError: the hold is settled or its lease lapsed.
            BudgetExhaustedError: every epoch of the hold is charged.
        """
        with self.database.transaction() as connection:
            now = self.database.now(connection)
            hold = self._live(connection, key, now)
            same = (charges.c.hold == key) & (charges.c.epoch == epoch)
            if connection.execute(select(charges.c.epoch).where(same)).first() is not None:
                return
            if hold["charged"] >= hold["epochs"]:
                raise BudgetExhaustedError(
                    f"all {hold['epochs']} epochs held for trial {hold['trial']} are charged"
                )
            row = {"hold": key, "epoch": epoch, "gpus": hold["gpus"], "charged_at": now}
            connection.execute(insert(charges).values(row))
            self._renew(connection, key, now, charged=hold["charged"] + 1)
            self._move(connection, held=-hold["gpus"], spent=hold["gpus"])

    def record(self, key: str, epoch: int, *, training_s: float, measuring_s: float) -> None:
        """Write down what a charged epoch took, in seconds, and renew the lease.

        Raises:
            HoldClosedError: the hold is settled or its lease lapsed: what the epoch gave must not be
                reported.
        """
        with self.database.transaction() as connection:
            now = self.database.now(connection)
            self._live(connection, key, now)
            same = (charges.c.hold == key) & (charges.c.epoch == epoch)
            connection.execute(
                update(charges).where(same).values(training_s=training_s, measuring_s=measuring_s)
            )
            self._renew(connection, key, now)

    def renew(self, key: str) -> None:
        """Renew a hold's lease.

        Raises:
            HoldClosedError: the hold is settled or its lease lapsed.
        """
        with self.database.transaction() as connection:
            now = self.database.now(connection)
            self._live(connection, key, now)
            self._renew(connection, key, now)

    def settle(self, key: str, reason: str) -> None:
        """Close a hold and return its uncharged epochs. Settling again changes nothing."""
        with self.database.transaction() as connection:
            self._lock(connection)
            hold = connection.execute(select(holds).where(holds.c.key == key)).mappings().one()
            if hold["settled_at"] is None:
                self._settle(connection, hold, self.database.now(connection), reason)

    def release(self, owner: str) -> None:
        """Settle the holds of an owner that is known to be dead, without waiting for their leases."""
        with self.database.transaction() as connection:
            self._settle_where(connection, holds.c.owner == owner, self.database.now(connection), _DIED)

    def open_holds(self) -> list[RowMapping]:
        """The trials' holds that are open now, lapsed ones settled first: trial, owner, epochs, charged,
        lease_until.
        """
        which = self._open & (holds.c.trial != _TURN)
        with self.database.transaction() as connection:
            self._reap(connection, self.database.now(connection))
            return list(connection.execute(select(holds).where(which).order_by(holds.c.trial)).mappings())

    def deaths(self, trial: int) -> int:
        """How many workers died while they held a trial."""
        which = (holds.c.account == self._id) & (holds.c.trial == trial) & holds.c.reason.in_(_DEATHS)
        with self.database.transaction() as connection:
            return int(connection.execute(select(func.count()).where(which)).scalar_one())

    @contextmanager
    def turn(self) -> Iterator[bool]:
        """The turn to propose trials: True inside for one worker at a time, False for the others."""
        key = uuid.uuid4().hex
        try:
            self._hold(key, {"trial": _TURN, "epochs": 0, "gpus": 1, "owner": self.owner})
        except AlreadyHeldError:
            yield False
            return
        with Hold(self, key, _TURN, 0):
            yield True

    def seconds(self) -> tuple[float, float]:
        """Seconds of training and of measuring recorded so far, over all charges of the account."""
        columns = (
            func.coalesce(func.sum(charges.c.training_s), 0.0),
            func.coalesce(func.sum(charges.c.measuring_s), 0.0),
        )
        with self.database.transaction() as connection:
            row = connection.execute(select(*columns).join(holds).where(holds.c.account == self._id)).one()
        return float(row[0]), float(row[1])

    def close(self) -> None:
        """Drop this process's connections."""
        self.database.close()

    @property
    def _open(self) -> Any:
        return (holds.c.account == self._id) & holds.c.settled_at.is_(None)

    def _lock(self, connection: Connection) -> RowMapping:
        """The account row, locked until the transaction ends."""
        return (
            connection.execute(select(accounts).where(accounts.c.id == self._id).with_for_update())
            .mappings()
            .one()
        )

    def _live(self, connection: Connection, key: str, now: float) -> RowMapping:
        self._lock(connection)
        hold = connection.execute(select(holds).where(holds.c.key == key)).mappings().one()
        if hold["settled_at"] is not None:
            raise HoldClosedError(f"the hold on trial {hold['trial']} is settled: {hold['reason']}")
        if hold["lease_until"] < now:
            raise HoldClosedError(
                f"the lease on trial {hold['trial']} lapsed {now - hold['lease_until']:.1f} s ago"
            )
        return hold

    def _renew(self, connection: Connection, key: str, now: float, **also: Any) -> None:
        connection.execute(
            update(holds).where(holds.c.key == key).values(lease_until=now + self.lease_s, **also)
        )

    def _reap(self, connection: Connection, now: float) -> None:
        self._lock(connection)
        self._settle_where(connection, holds.c.lease_until < now, now, _LAPSED)

    def _settle_where(self, connection: Connection, which: Any, now: float, reason: str) -> None:
        self._lock(connection)
        for hold in connection.execute(select(holds).where(self._open & which)).mappings().all():
            self._settle(connection, hold, now, reason)

    def _settle(self, connection: Connection, hold: RowMapping, now: float, reason: str) -> None:
        connection.execute(
            update(holds).where(holds.c.key == hold["key"]).values(settled_at=now, reason=reason[:256])
        )
        self._move(connection, held=-(hold["epochs"] - hold["charged"]) * hold["gpus"])

    def _move(self, connection: Connection, *, held: int, spent: int = 0) -> None:
        changed = {"held": accounts.c.held + held, "spent": accounts.c.spent + spent}
        connection.execute(update(accounts).where(accounts.c.id == self._id).values(changed))


def storage_url(study: optuna.Study) -> str:
    """The URL of the database an Optuna study lives in.

    Raises:
        ArgumentError: its storage is no database.
    """
    backend = getattr(study._storage, "_backend", study._storage)
    if not isinstance(backend, optuna.storages.RDBStorage):
        raise ArgumentError(
            "ledger", "a database URL, since this study's storage is no database", type(backend).__name__
        )
    return str(backend.url)


def _account(row: RowMapping) -> Account:
    return Account(row["epoch_limit"], row["held"], row["spent"])


def _positive_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
