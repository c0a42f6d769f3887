"""The ledger: an account of GPU×epochs that no number of workers, dead or alive, can overspend."""

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import optuna
from sqlalchemy import RowMapping, func, select

from hpo_gn.budget.account import DEATHS, DIED, Account, LockedAccount
from hpo_gn.budget.amounts import rounded_up
from hpo_gn.budget.arguments import checked_integer, checked_name, checked_seconds, checked_share
from hpo_gn.budget.charging import charge_epoch, record_epoch
from hpo_gn.budget.database import Database
from hpo_gn.budget.hold import Hold
from hpo_gn.budget.holding import set_aside
from hpo_gn.budget.opening import find_account, open_account
from hpo_gn.budget.schema import charges, holds
from hpo_gn.budget.statement import Statement, read_statement
from hpo_gn.database_url import url_of_study
from hpo_gn.errors import AlreadyHeldError, ArgumentError, StorageError
from hpo_gn.owner import new_owner

LEASE_S = 60.0
_TURN = -1

Result = TypeVar("Result")


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

    Every method raises StorageError when the database cannot be used. A database that goes away for a while
    is waited for, and every call is then as if it had been made once.

    Args:
        url: an SQLAlchemy URL of a SQLite file or a PostgreSQL database.
        study: the account's name.
        limit: the account's limit in GPU×epochs; None opens an account that exists, and writes nothing.
            Another limit than the one on record changes it.
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
        self.study = checked_name("study", study, longest=512)
        self.lease_s = checked_seconds("lease_s", lease_s, zero=False)
        self.owner = new_owner() if owner is None else checked_name("owner", owner, longest=256)
        checked_limit = None if limit is None else checked_integer("budget", limit)
        self.database = Database(url)
        try:
            self._id = self._open(checked_limit)
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

    @classmethod
    def open_existing(cls, url: str, study: str) -> "Ledger":
        """A ledger for reading its `statement`: opening it makes no file, table or account and waits for no
        writer.

        Raises:
            StorageError: there is no such database, or no such account in it.
        """
        return cls(url, study)

    def _open(self, limit: int | None) -> int:
        if limit is not None:
            return self.database.write(lambda connection: open_account(connection, self.study, limit))
        if self.database.file is not None and not os.path.exists(self.database.file):
            raise StorageError(f"there is no database at {self.database}")
        found = self.database.read(lambda connection: find_account(connection, self.study))
        if found is None:
            raise StorageError(f"the ledger at {self.database} has no account for study {self.study!r}")
        return found

    def account(self) -> Account:
        """The account as it stands, lapsed leases settled first."""

        def settle_and_read(account: LockedAccount) -> Account:
            account.reap()
            return account.balance

        return self._locked(settle_and_read)

    def statement(self) -> Statement:
        """The account, its workers and its trials as they are recorded; settles nothing and waits for no
        writer.
        """
        return self.database.read(lambda connection: read_statement(connection, self._id))

    def hold(
        self,
        trial: int | optuna.trial.BaseTrial,
        *,
        epochs: int,
        gpus: int = 1,
        measuring: float = 0,
        key: str | None = None,
    ) -> Hold:
        """Set a trial's epochs aside, so that a trial that starts can finish.

        Args:
            trial: the trial or its number.
            epochs: how many epochs it may run.
            gpus: GPUs it uses at once; an epoch costs that many.
            measuring: the share of an epoch, rounded up to 1/1024, that is set aside with each epoch for its
                measures; 0 leaves measuring free of charge.
            key: the hold's idempotency key; asking again with the same key gives the same hold.

        Raises:
            AlreadyHeldError: another worker holds the trial.
            BudgetExhaustedError: the account has not that much left.
            HoldClosedError: the key is that of a settled hold, or of a hold with other arguments.
            ArgumentError: a number is out of its range, or the trial is none.
        """
        number = checked_integer("trial", getattr(trial, "number", trial), least=0)
        epochs, gpus = checked_integer("epochs", epochs), checked_integer("gpus", gpus)
        share = rounded_up(checked_share("measuring", measuring))
        key = uuid.uuid4().hex if key is None else checked_name("key", key, longest=64)
        charged = self._hold(key, trial=number, epochs=epochs, gpus=gpus, measuring=share)
        return Hold(self, key, number, epochs, charged=charged)

    def _hold(self, key: str, **wanted: float) -> int:
        """Make a hold, or find it; the last epoch charged to it."""
        return self._locked(
            lambda account: set_aside(account, key, dict(wanted, owner=self.owner), self.lease_s)
        )

    def charge(self, key: str, epoch: int) -> None:
        """Charge one epoch of a hold, before it runs, and renew the lease. Charging the same epoch again
        changes nothing else.

        Raises:
            HoldClosedError: the hold is settled or its lease lapsed.
            BudgetExhaustedError: every epoch of the hold is charged.
            ArgumentError: the epoch is not a positive integer, or no hold has that key.
        """
        epoch = checked_integer("epoch", epoch)
        self._locked(lambda account: charge_epoch(account, key, epoch, self.lease_s))

    def record(self, key: str, epoch: int, *, training_s: float, measuring_s: float) -> None:
        """Write down what a charged epoch took, in seconds, and renew the lease. Recording the same again
        changes nothing else.

        A hold with a share for measuring is charged measuring_s / training_s × GPUs, rounded up to 1/1024,
        from that share first and then from what the account has left. What neither can pay is not charged:
        held and spent stay within the limit, and no epoch that is held is touched.

        Raises:
            HoldClosedError: the hold is settled or its lease lapsed: what the epoch gave must not be
                reported.
            ArgumentError: the epoch was not charged, or is recorded with other seconds; or the seconds are no
                such number, or training_s is 0 where measuring is charged.
        """
        took = {
            "training_s": checked_seconds("training_s", training_s),
            "measuring_s": checked_seconds("measuring_s", measuring_s),
        }
        epoch = checked_integer("epoch", epoch)
        self._locked(lambda account: record_epoch(account, key, epoch, took, self.lease_s))

    def renew(self, key: str) -> None:
        """Renew a hold's lease.

        Raises:
            HoldClosedError: the hold is settled or its lease lapsed.
        """

        def renew_live(account: LockedAccount) -> None:
            account.find_live(key)
            account.renew(key, self.lease_s)

        self._locked(renew_live)

    def settle(self, key: str, reason: str) -> None:
        """Close a hold and return what it did not use. Settling again changes nothing."""

        def settle_open(account: LockedAccount) -> None:
            hold = account.find(key)
            if hold["settled_at"] is None:
                account.settle(hold, reason)

        self._locked(settle_open)

    def release(self, owner: str) -> None:
        """Settle the holds of an owner that is known to be dead, without waiting for their leases."""
        self._locked(lambda account: account.settle_where(holds.c.owner == owner, DIED))

    def open_holds(self) -> list[RowMapping]:
        """The trials' holds that are open now, lapsed ones settled first: trial, owner, epochs, charged,
        lease_until.
        """

        def settle_and_list(account: LockedAccount) -> list[RowMapping]:
            account.reap()
            which = account.open & (holds.c.trial != _TURN)
            found = account.connection.execute(select(holds).where(which).order_by(holds.c.trial))
            return list(found.mappings())

        return self._locked(settle_and_list)

    def deaths(self, trial: int) -> int:
        """How many workers died while they held a trial."""
        which = (holds.c.account == self._id) & (holds.c.trial == trial) & holds.c.reason.in_(DEATHS)
        count = select(func.count()).where(which)
        return self.database.read(lambda connection: int(connection.execute(count).scalar_one()))

    @contextmanager
    def turn(self) -> Iterator[Hold | None]:
        """The turn to propose trials: a hold of no epochs for one worker at a time, None for the others."""
        key = uuid.uuid4().hex
        try:
            self._hold(key, trial=_TURN, epochs=0, gpus=1, measuring=0)
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
        sums = select(*columns).join(holds).where(holds.c.account == self._id)
        training_s, measuring_s = self.database.read(lambda connection: connection.execute(sums).one())
        return float(training_s), float(measuring_s)

    def close(self) -> None:
        """Drop this process's connections."""
        self.database.close()

    def _locked(self, work: Callable[[LockedAccount], Result]) -> Result:
        return self.database.write(lambda connection: work(LockedAccount(connection, self._id)))
