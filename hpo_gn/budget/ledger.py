"""The ledger: an account of GPU×epochs that no number of workers, dead or alive, can overspend."""

import os
import socket
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import optuna
from sqlalchemy import Connection, RowMapping, func, insert, select, update

from hpo_gn.budget.account import DEATHS, DIED, Account, LockedAccount, find_account, make_account
from hpo_gn.budget.arguments import checked_integer, checked_name, checked_seconds
from hpo_gn.budget.database import Database
from hpo_gn.budget.hold import Hold
from hpo_gn.budget.schema import accounts, charges, create, holds
from hpo_gn.database_url import url_of_study
from hpo_gn.errors import AlreadyHeldError, ArgumentError, BudgetExhaustedError, HoldClosedError, StorageError

LEASE_S = 60.0
_TURN = -1


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

    Every method raises StorageError when the database cannot be used.

    Args:
        url: an SQLAlchemy URL of a SQLite file or a PostgreSQL database.
        study: the account's name.
        limit: the account's limit in GPU×epochs; None opens an account that exists. Another limit than the
            one on record changes it.
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
        if limit is not None:
            limit = checked_integer("budget", limit)
        self.study = checked_name("study", study, longest=512)
        self.lease_s = checked_seconds("lease_s", lease_s, zero=False)
        host_process = f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self.owner = host_process if owner is None else checked_name("owner", owner, longest=256)
        self.database = Database(url)
        try:
            with self.database.transaction() as connection:
                create(connection)
                self._id = self._open_account(connection, limit)
        except BaseException:
            self.close()
            raise

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
        url = url or url_of_study(study)
        if url is None:
            backend = type(study._storage).__name__
            raise ArgumentError(
                "ledger", "a database URL, since this study's storage is no database", backend
            )
        return cls(url, study.study_name, limit=limit, lease_s=lease_s)

    def _open_account(self, connection: Connection, limit: int | None) -> int:
        found = find_account(connection, self.study)
        if found is None:
            if limit is None:
                raise StorageError(f"the ledger at {self.database} has no account for study {self.study!r}")
            return make_account(connection, self.study, limit)
        account = self._lock(connection, found)
        if limit is not None and limit != account.read().limit:
            account.change_limit(limit)
        return found

    def account(self) -> Account:
        """The account as it stands, lapsed leases settled first."""
        with self._locked() as account:
            account.reap()
            return account.read()

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
            ArgumentError: a number is not a positive integer, or the trial is none.
        """
        number = checked_integer("trial", getattr(trial, "number", trial), least=0)
        epochs, gpus = checked_integer("epochs", epochs), checked_integer("gpus", gpus)
        wanted = {"trial": number, "epochs": epochs, "gpus": gpus, "owner": self.owner}
        key = uuid.uuid4().hex if key is None else checked_name("key", key, longest=64)
        return Hold(self, key, number, epochs, charged=self._hold(key, wanted))

    def _hold(self, key: str, wanted: Mapping[str, Any]) -> int:
        """Make a hold, or find it; the last epoch charged to it."""
        with self._locked() as account:
            account.reap()
            found = account.connection.execute(select(holds).where(holds.c.key == key)).mappings().first()
            if found is not None:
                _check_same(found, dict(wanted, account=account.id))
                last = select(func.coalesce(func.max(charges.c.epoch), 0)).where(charges.c.hold == key)
                return int(account.connection.execute(last).scalar_one())
            self._make_hold(account, key, wanted)
            return 0

    def _make_hold(self, account: LockedAccount, key: str, wanted: Mapping[str, Any]) -> None:
        trial, cost, left = wanted["trial"], wanted["epochs"] * wanted["gpus"], account.read().left
        which = account.open & (holds.c.trial == trial)
        other = account.connection.execute(select(holds.c.owner).where(which)).scalar_one_or_none()
        if other is not None:
            raise AlreadyHeldError(f"trial {trial} is held by {other}")
        if cost > left:
            raise BudgetExhaustedError(
                f"trial {trial} needs {cost} GPU×epochs, and the account has {left} left"
            )
        times = {"held_at": account.now, "lease_until": account.now + self.lease_s}
        row = dict(wanted, key=key, account=account.id, charged=0, **times)
        account.connection.execute(insert(holds).values(row))
        account.move(held=cost)

    def charge(self, key: str, epoch: int) -> None:
        """Charge one epoch of a hold, before it runs, and renew the lease. Charging the same epoch again
        changes nothing else.

        Raises:
            HoldClosedError: the hold is settled or its lease lapsed.
            BudgetExhaustedError: every epoch of the hold is charged.
            ArgumentError: the epoch is not a positive integer, or no hold has that key.
        """
        epoch = checked_integer("epoch", epoch)
        with self._locked() as account:
            hold = account.find_live(key)
            if _charged(account, key, epoch):
                account.renew(key, self.lease_s)
                return
            if hold["charged"] >= hold["epochs"]:
                raise BudgetExhaustedError(
                    f"all {hold['epochs']} epochs held for trial {hold['trial']} are charged"
                )
            row = {"hold": key, "epoch": epoch, "gpus": hold["gpus"], "charged_at": account.now}
            account.connection.execute(insert(charges).values(row))
            account.renew(key, self.lease_s, charged=hold["charged"] + 1)
            account.move(held=-hold["gpus"], spent=hold["gpus"])

    def record(self, key: str, epoch: int, *, training_s: float, measuring_s: float) -> None:
        """Write down what a charged epoch took, in seconds, and renew the lease.

        Raises:
            HoldClosedError: the hold is settled or its lease lapsed: what the epoch gave must not be
                reported.
            ArgumentError: the epoch was not charged, or the seconds are no such number.
        """
        took = {
            "training_s": checked_seconds("training_s", training_s),
            "measuring_s": checked_seconds("measuring_s", measuring_s),
        }
        epoch = checked_integer("epoch", epoch)
        with self._locked() as account:
            account.find_live(key)
            if not _charged(account, key, epoch):
                raise ArgumentError("epoch", "one that was charged", epoch)
            account.connection.execute(update(charges).where(_charge(key, epoch)).values(took))
            account.renew(key, self.lease_s)

    def renew(self, key: str) -> None:
        """Renew a hold's lease.

        Raises:
            HoldClosedError: the hold is settled or its lease lapsed.
        """
        with self._locked() as account:
            account.find_live(key)
            account.renew(key, self.lease_s)

    def settle(self, key: str, reason: str) -> None:
        """Close a hold and return its uncharged epochs. Settling again changes nothing."""
        with self._locked() as account:
            hold = account.find(key)
            if hold["settled_at"] is None:
                account.settle(hold, reason)

    def release(self, owner: str) -> None:
        """Settle the holds of an owner that is known to be dead, without waiting for their leases."""
        with self._locked() as account:
            account.settle_where(holds.c.owner == owner, DIED)

    def open_holds(self) -> list[RowMapping]:
        """The trials' holds that are open now, lapsed ones settled first: trial, owner, epochs, charged,
        lease_until.
        """
        with self._locked() as account:
            account.reap()
            which = account.open & (holds.c.trial != _TURN)
            found = account.connection.execute(select(holds).where(which).order_by(holds.c.trial))
            return list(found.mappings())

    def deaths(self, trial: int) -> int:
        """How many workers died while they held a trial."""
        which = (holds.c.account == self._id) & (holds.c.trial == trial) & holds.c.reason.in_(DEATHS)
        with self.database.transaction() as connection:
            return int(connection.execute(select(func.count()).where(which)).scalar_one())

    @contextmanager
    def turn(self) -> Iterator[Hold | None]:
        """The turn to propose trials: a hold of no epochs for one worker at a time, None for the others."""
        key = uuid.uuid4().hex
        try:
            self._hold(key, {"trial": _TURN, "epochs": 0, "gpus": 1, "owner": self.owner})
        except AlreadyHeldError:
            yield None
            return
        with Hold(self, key, _TURN, 0) as hold:
            yield hold

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

    @contextmanager
    def _locked(self) -> Iterator[LockedAccount]:
        with self.database.transaction() as connection:
            yield self._lock(connection, self._id)

    def _lock(self, connection: Connection, account: int) -> LockedAccount:
        connection.execute(select(accounts.c.id).where(accounts.c.id == account).with_for_update()).one()
        return LockedAccount(connection, account, self.database.now(connection))


def _check_same(hold: RowMapping, wanted: Mapping[str, Any]) -> None:
    if hold["settled_at"] is not None or any(hold[name] != value for name, value in wanted.items()):
        raise HoldClosedError(f"hold {hold['key']} is settled or was made with other arguments")


def _charge(key: str, epoch: int) -> Any:
    return (charges.c.hold == key) & (charges.c.epoch == epoch)


def _charged(account: LockedAccount, key: str, epoch: int) -> bool:
    found = account.connection.execute(select(charges.c.epoch).where(_charge(key, epoch)))
    return found.first() is not None
