"""The ledger against a plain Python model of it: any calls in any order, each replayed, at any time."""

import sqlite3
import tempfile
from dataclasses import dataclass, field
from unittest.mock import patch

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hpo_gn.budget import Ledger
from hpo_gn.budget.database import Database
from hpo_gn.errors import AlreadyHeldError, ArgumentError, BudgetExhaustedError, HoldClosedError

LEASE_S = 10
OWNERS = ("anna", "ben")
KEYS = ("a", "b", "c", "d", "e", "f")


@dataclass
class ModelHold:
    trial: int
    epochs: int
    gpus: int
    owner: str
    lease_until: float
    charged: dict = field(default_factory=dict)
    reason: str | None = None

    @property
    def unused(self):
        return (self.epochs - len(self.charged)) * self.gpus


@dataclass
class Model:
    """What the ledger promises, without a database: each call changes this or raises, never both."""

    limit: int
    now: float = 1000.0
    holds: dict = field(default_factory=dict)

    @property
    def held(self):
        return sum(hold.unused for hold in self.holds.values() if hold.reason is None)

    @property
    def spent(self):
        return sum(len(hold.charged) * hold.gpus for hold in self.holds.values())

    def lapsed(self):
        return [hold for hold in self.holds.values() if hold.reason is None and hold.lease_until < self.now]

    def reap(self):
        for hold in self.lapsed():
            hold.reason = "its lease lapsed"

    def left(self):
        """What is left once the lapsed holds are settled."""
        return self.limit - self.spent - self.held + sum(hold.unused for hold in self.lapsed())

    def hold(self, key, trial, epochs, gpus, owner):
        living = {
            name: hold
            for name, hold in self.holds.items()
            if hold.reason is None and hold.lease_until >= self.now
        }
        if key in self.holds:
            same = living.get(key)
            if same is None or (same.trial, same.epochs, same.gpus, same.owner) != (
                trial,
                epochs,
                gpus,
                owner,
            ):
                raise HoldClosedError
        elif any(hold.trial == trial for hold in living.values()):
            raise AlreadyHeldError
        elif epochs * gpus > self.left():
            raise BudgetExhaustedError
        else:
            self.holds[key] = ModelHold(trial, epochs, gpus, owner, self.now + LEASE_S)
        self.reap()

    def live(self, key):
        if key not in self.holds:
            raise ArgumentError("", "", "")
        hold = self.holds[key]
        if hold.reason is not None or hold.lease_until < self.now:
            raise HoldClosedError
        return hold

    def charge(self, key, epoch):
        hold = self.live(key)
        if epoch not in hold.charged:
            if len(hold.charged) == hold.epochs:
                raise BudgetExhaustedError
            hold.charged[epoch] = None
        hold.lease_until = self.now + LEASE_S

    def record(self, key, epoch, seconds):
        hold = self.live(key)
        if epoch not in hold.charged:
            raise ArgumentError("", "", "")
        hold.charged[epoch] = seconds
        hold.lease_until = self.now + LEASE_S

    def renew(self, key):
        self.live(key).lease_until = self.now + LEASE_S

    def settle(self, key, reason):
        if key not in self.holds:
            raise ArgumentError("", "", "")
        if self.holds[key].reason is None:
            self.holds[key].reason = reason

    def release(self, owner):
        for hold in self.holds.values():
            if hold.owner == owner and hold.reason is None:
                hold.reason = "its worker died"

    def change_limit(self, limit):
        if limit == self.limit:
            return
        if limit < self.limit - self.left():
            raise ArgumentError("", "", "")
        self.reap()
        self.limit = limit

    def deaths(self, trial):
        reasons = ("its lease lapsed", "its worker died")
        return sum(hold.trial == trial and hold.reason in reasons for hold in self.holds.values())

    def account(self):
        self.reap()
        return self.limit, self.held, self.spent

    def open_holds(self):
        self.reap()
        return sorted(hold.trial for hold in self.holds.values() if hold.reason is None)


def outcome(call):
    """What a call gives back, or the kind of its refusal."""
    try:
        return call()
    except (AlreadyHeldError, ArgumentError, BudgetExhaustedError, HoldClosedError) as error:
        return type(error)


replays = st.integers(1, 3)
keys = st.sampled_from(KEYS)
owners = st.sampled_from(OWNERS)
epochs = st.integers(1, 4)


class LedgerMachine(RuleBasedStateMachine):
    @initialize(limit=st.integers(1, 30))
    def open(self, limit):
        self.folder = tempfile.TemporaryDirectory()
        self.path = f"{self.folder.name}/study.db"
        self.model = Model(limit)
        self.clock = patch.object(Database, "now", lambda *_: self.model.now)
        self.clock.start()
        self.ledgers = {owner: self._open(limit, owner) for owner in OWNERS}
        self.observer = sqlite3.connect(self.path, isolation_level=None)

    def _open(self, limit, owner):
        return Ledger(f"sqlite:///{self.path}", "study", limit=limit, lease_s=LEASE_S, owner=owner)

    def teardown(self):
        if hasattr(self, "observer"):
            self.observer.close()
            self.clock.stop()
            self.folder.cleanup()

    def same(self, times, call, expect):
        for _ in range(times):
            expected = outcome(expect)
            assert outcome(call) == expected

    @rule(
        times=replays, key=keys, trial=st.integers(0, 3), epochs=epochs, gpus=st.integers(1, 3), owner=owners
    )
    def hold(self, times, key, trial, epochs, gpus, owner):
        ledger = self.ledgers[owner]
        self.same(
            times,
            lambda: ledger.hold(trial, epochs=epochs, gpus=gpus, key=key) and None,
            lambda: self.model.hold(key, trial, epochs, gpus, owner),
        )

    @rule(times=replays, key=keys, epoch=st.integers(1, 5), owner=owners)
    def charge(self, times, key, epoch, owner):
        ledger = self.ledgers[owner]
        self.same(times, lambda: ledger.charge(key, epoch), lambda: self.model.charge(key, epoch))

    @rule(times=replays, key=keys, epoch=st.integers(1, 5), seconds=st.integers(0, 100))
    def record(self, times, key, epoch, seconds):
        ledger = self.ledgers["anna"]
        self.same(
            times,
            lambda: ledger.record(key, epoch, training_s=seconds, measuring_s=2 * seconds),
            lambda: self.model.record(key, epoch, seconds),
        )

    @rule(times=replays, key=keys)
    def renew(self, times, key):
        self.same(times, lambda: self.ledgers["ben"].renew(key), lambda: self.model.renew(key))

    @rule(times=replays, key=keys, reason=st.sampled_from(["finished", "gave up"]))
    def settle(self, times, key, reason):
        ledger = self.ledgers["ben"]
        self.same(times, lambda: ledger.settle(key, reason), lambda: self.model.settle(key, reason))

    @rule(times=replays, owner=owners)
    def release(self, times, owner):
        self.same(times, lambda: self.ledgers["anna"].release(owner), lambda: self.model.release(owner))

    @rule(times=replays, limit=st.integers(1, 30))
    def change_limit(self, times, limit):
        self.same(
            times, lambda: self._open(limit, "x") and None, lambda: self.model.change_limit(limit) and None
        )

    @rule(seconds=st.sampled_from([0.5, 5, 10, 10.5]))
    def wait(self, seconds):
        self.model.now += seconds

    @rule(trial=st.integers(0, 3))
    def ask(self, trial):
        ledger = self.ledgers["anna"]
        assert ledger.deaths(trial) == self.model.deaths(trial)
        assert [hold["trial"] for hold in ledger.open_holds()] == self.model.open_holds()
        account = ledger.account()
        assert (account.limit, account.held, account.spent) == self.model.account()

    @invariant()
    def rows_are_the_models(self):
        if not hasattr(self, "observer"):
            return
        held, spent, limit = self.observer.execute(
            "SELECT held, spent, epoch_limit FROM hpo_gn_accounts"
        ).fetchone()
        assert held + spent <= limit
        assert (held, spent, limit) == (self.model.held, self.model.spent, self.model.limit)
        columns = "key, trial, epochs, gpus, owner, charged, lease_until, reason"
        rows = self.observer.execute(f"SELECT {columns} FROM hpo_gn_holds ORDER BY key").fetchall()
        assert rows == [
            (
                key,
                hold.trial,
                hold.epochs,
                hold.gpus,
                hold.owner,
                len(hold.charged),
                hold.lease_until,
                hold.reason,
            )
            for key, hold in sorted(self.model.holds.items())
        ]
        rows = self.observer.execute(
            "SELECT hold, epoch, training_s FROM hpo_gn_charges ORDER BY hold, epoch"
        ).fetchall()
        assert rows == [
            (key, epoch, seconds)
            for key, hold in sorted(self.model.holds.items())
            for epoch, seconds in sorted(hold.charged.items())
        ]


TestLedgerModel = LedgerMachine.TestCase
TestLedgerModel.settings = settings(
    max_examples=30,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
)
