"""The ledger against a plain Python model of it: any calls in any order, each replayed, at any time."""

import math
import sqlite3
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from unittest.mock import patch

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hpo_gn.budget import Account, Ledger, Statement, TrialEntry, WorkerEntry
from hpo_gn.errors import AlreadyHeldError, ArgumentError, BudgetExhaustedError, HoldClosedError

LEASE_S = 10
OWNERS = ("anna", "ben")
DEATHS = ("its lease lapsed", "its worker died")


def steps_up(amount):
    """The next multiple of 1/1024."""
    return Fraction(math.ceil(Fraction(amount) * 1024), 1024)


@dataclass
class ModelCharge:
    took: tuple | None = None
    paid: Fraction = Fraction(0)


@dataclass
class ModelHold:
    trial: int
    epochs: int
    gpus: int
    owner: str
    share: Fraction
    seen_at: float
    charged: dict = field(default_factory=dict)
    reason: str | None = None

    @property
    def arguments(self):
        return self.trial, self.epochs, self.gpus, self.owner, self.share

    @property
    def measured(self):
        return sum(charge.paid for charge in self.charged.values())

    @property
    def reserve(self):
        return max(Fraction(0), self.epochs * self.gpus * self.share - self.measured)

    @property
    def unused(self):
        return (self.epochs - len(self.charged)) * self.gpus + self.reserve

    @property
    def spent(self):
        return len(self.charged) * self.gpus + self.measured

    @property
    def lease_until(self):
        return self.seen_at + LEASE_S

    def seconds(self, which):
        return sum(charge.took[which] for charge in self.charged.values() if charge.took)


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
        return sum(hold.spent for hold in self.holds.values())

    @property
    def measuring(self):
        return sum(hold.measured for hold in self.holds.values())

    def lapsed(self):
        return [hold for hold in self.holds.values() if hold.reason is None and hold.lease_until < self.now]

    def reap(self):
        for hold in self.lapsed():
            hold.reason = "its lease lapsed"

    def left(self):
        """What is left once the lapsed holds are settled."""
        return self.limit - self.spent - self.held + sum(hold.unused for hold in self.lapsed())

    def hold(self, key, trial, epochs, gpus, owner, measuring):
        asked = ModelHold(trial, epochs, gpus, owner, steps_up(measuring), self.now)
        living = {
            name: hold
            for name, hold in self.holds.items()
            if hold.reason is None and hold.lease_until >= self.now
        }
        if key in self.holds:
            if key not in living or living[key].arguments != asked.arguments:
                raise HoldClosedError
        elif any(hold.trial == trial for hold in living.values()):
            raise AlreadyHeldError
        elif asked.unused > self.left():
            raise BudgetExhaustedError
        else:
            self.holds[key] = asked
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
            hold.charged[epoch] = ModelCharge()
        hold.seen_at = self.now

    def record(self, key, epoch, training_s, measuring_s):
        hold, took = self.live(key), (training_s, measuring_s)
        if epoch not in hold.charged:
            raise ArgumentError("", "", "")
        charge = hold.charged[epoch]
        if charge.took not in (None, took) or (charge.took is None and hold.share and not training_s):
            raise ArgumentError("", "", "")
        if charge.took is None and hold.share:
            cost = steps_up(Fraction(measuring_s * hold.gpus, training_s))
            if cost > hold.reserve:
                self.reap()
            charge.paid = min(cost, hold.reserve + self.left())
        charge.took = took
        hold.seen_at = self.now

    def renew(self, key):
        self.live(key).seen_at = self.now

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
        return deaths(hold for hold in self.holds.values() if hold.trial == trial)

    def account(self):
        self.reap()
        return self.as_recorded()

    def as_recorded(self):
        return Account(self.limit, self.held, self.spent, self.measuring)

    def open_holds(self):
        self.reap()
        return sorted(hold.trial for hold in self.holds.values() if hold.reason is None)

    def statement(self):
        owners = sorted({hold.owner for hold in self.holds.values()})
        trials = sorted({hold.trial for hold in self.holds.values()})
        return Statement(
            self.as_recorded(),
            tuple(self.worker(owner) for owner in owners),
            tuple(self.trial(trial) for trial in trials),
        )

    def worker(self, owner):
        mine = [hold for hold in self.holds.values() if hold.owner == owner]
        return WorkerEntry(
            owner,
            trials=tuple(sorted(hold.trial for hold in mine if hold.reason is None)),
            epochs=sum(len(hold.charged) for hold in mine),
            training_s=sum(hold.seconds(0) for hold in mine),
            measuring_s=sum(hold.seconds(1) for hold in mine),
            last_seen_s=min(self.now - hold.seen_at for hold in mine),
            deaths=deaths(mine),
        )

    def trial(self, trial):
        its = [hold for hold in self.holds.values() if hold.trial == trial]
        current = next((hold for hold in its if hold.reason is None), None)
        return TrialEntry(
            trial,
            owner=current and current.owner,
            epochs=sum(len(hold.charged) for hold in its),
            spent=sum(hold.spent for hold in its),
            held=current.unused if current else 0,
            training_s=sum(hold.seconds(0) for hold in its),
            measuring_s=sum(hold.seconds(1) for hold in its),
            lease_left_s=current and current.lease_until - self.now,
            deaths=deaths(its),
        )


def deaths(holds):
    return sum(hold.reason in DEATHS for hold in holds)


def outcome(call):
    """What a call gives back, or the kind of its refusal."""
    try:
        return call()
    except (AlreadyHeldError, ArgumentError, BudgetExhaustedError, HoldClosedError) as error:
        return type(error)


replays = st.integers(1, 5)
which = st.integers(0, 5)
owners = st.sampled_from(OWNERS)
trials = st.integers(0, 3)
epochs = st.integers(1, 4)
gpus = st.integers(1, 3)
shares = st.sampled_from([0, 0.5, 0.1])


class LedgerMachine(RuleBasedStateMachine):
    @initialize(limit=st.integers(10, 60), share=shares)
    def open(self, limit, share):
        self.folder = tempfile.TemporaryDirectory()
        self.path = f"{self.folder.name}/study.db"
        self.model = Model(limit)
        self.clock = ExitStack()
        for module in ("account", "statement"):
            self.clock.enter_context(patch(f"hpo_gn.budget.{module}.now_in", lambda _row: self.model.now))
        self.ledgers = {owner: self._open(limit, owner) for owner in OWNERS}
        self.observer = sqlite3.connect(self.path, isolation_level=None)
        self.hold(1, 0, 4, 2, "anna", share)  # else the first steps are about nothing

    def _open(self, limit, owner):
        return Ledger(f"sqlite:///{self.path}", "study", limit=limit, lease_s=LEASE_S, owner=owner)

    def teardown(self):
        if hasattr(self, "observer"):
            self.observer.close()
            self.clock.close()
            for ledger in self.ledgers.values():
                ledger.close()
            self.folder.cleanup()

    def key(self, which):
        """The key of one of the latest holds, counted from the last; an unknown one for 0."""
        return list(self.model.holds)[-1 - (which - 1) % len(self.model.holds)] if which else "unknown"

    def same(self, times, call, expect):
        for _ in range(times):
            expected = outcome(expect)
            assert outcome(call) == expected

    @rule(trial=trials, epochs=epochs, gpus=gpus, owner=owners, share=shares, times=replays)
    def hold(self, times, trial, epochs, gpus, owner, share):
        self.ask_for(f"hold {len(self.model.holds):04}", times, trial, epochs, gpus, owner, share)

    @rule(trial=trials, epochs=epochs, gpus=gpus, owner=owners, share=shares, times=replays, which=which)
    def hold_with_a_used_key(self, times, which, trial, epochs, gpus, owner, share):
        self.ask_for(self.key(which), times, trial, epochs, gpus, owner, share)

    @rule(times=replays, which=which)
    def hold_again(self, times, which):
        key = self.key(which)
        if key in self.model.holds:
            self.ask_for(key, times, *self.model.holds[key].arguments)

    def ask_for(self, key, times, trial, epochs, gpus, owner, share):
        ledger = self.ledgers[owner]
        self.same(
            times,
            lambda: ledger.hold(trial, epochs=epochs, gpus=gpus, measuring=float(share), key=key) and None,
            lambda: self.model.hold(key, trial, epochs, gpus, owner, share),
        )

    @rule(times=replays, which=which, epoch=st.integers(1, 3), owner=owners)
    def charge(self, times, which, epoch, owner):
        self.charge_epoch(times, self.key(which), epoch, owner)

    def charge_epoch(self, times, key, epoch, owner):
        ledger = self.ledgers[owner]
        self.same(times, lambda: ledger.charge(key, epoch), lambda: self.model.charge(key, epoch))

    @rule(
        times=replays,
        which=which,
        epoch=st.integers(1, 3),
        training_s=st.sampled_from([0, 1, 3, 7]),
        measuring_s=st.sampled_from([0, 1, 2, 50]),
    )
    def record(self, times, which, epoch, training_s, measuring_s):
        self.record_epoch(times, self.key(which), epoch, training_s, measuring_s)

    def record_epoch(self, times, key, epoch, training_s, measuring_s):
        ledger = self.ledgers["anna"]
        self.same(
            times,
            lambda: ledger.record(key, epoch, training_s=training_s, measuring_s=measuring_s),
            lambda: self.model.record(key, epoch, training_s, measuring_s),
        )

    @rule(which=which, owner=owners, times=replays)
    def run_an_epoch(self, times, which, owner):
        """What a worker does all the time, and chance alone seldom."""
        key = self.key(which)
        epoch = 1 + max(self.model.holds[key].charged, default=0) if key in self.model.holds else 1
        self.charge_epoch(times, key, epoch, owner)
        self.record_epoch(times, key, epoch, 4, 1)

    @rule(times=replays, which=which)
    def renew(self, times, which):
        key = self.key(which)
        self.same(times, lambda: self.ledgers["ben"].renew(key), lambda: self.model.renew(key))

    @rule(times=replays, which=which, reason=st.sampled_from(["finished", "gave up"]))
    def settle(self, times, which, reason):
        ledger, key = self.ledgers["ben"], self.key(which)
        self.same(times, lambda: ledger.settle(key, reason), lambda: self.model.settle(key, reason))

    @rule(times=replays, owner=st.sampled_from([*OWNERS, "cleo", "dora", "emil"]))
    def release(self, times, owner):
        self.same(times, lambda: self.ledgers["anna"].release(owner), lambda: self.model.release(owner))

    @rule(times=replays, limit=st.integers(1, 30))
    def change_limit(self, times, limit):
        self.same(times, lambda: self._open(limit, "x").close(), lambda: self.model.change_limit(limit))

    @rule(seconds=st.sampled_from([0.5, 2, 5, 10.5]))
    def wait(self, seconds):
        self.model.now += seconds

    @rule(trial=st.integers(0, 3))
    def ask(self, trial):
        ledger = self.ledgers["anna"]
        assert ledger.deaths(trial) == self.model.deaths(trial)
        assert [hold["trial"] for hold in ledger.open_holds()] == self.model.open_holds()
        assert ledger.account() == self.model.account()

    @rule()
    def read(self):
        assert self.ledgers["ben"].statement() == self.model.statement()

    @invariant()
    def rows_are_the_models(self):
        if not hasattr(self, "observer"):
            return
        columns = "held, spent, measuring, epoch_limit"
        row = self.observer.execute(f"SELECT {columns} FROM hpo_gn_accounts").fetchone()
        assert row[0] + row[1] <= row[3]
        assert row == (self.model.held, self.model.spent, self.model.measuring, self.model.limit)
        columns = "key, trial, epochs, gpus, owner, measuring, charged, measured, lease_until, reason"
        rows = self.observer.execute(f"SELECT {columns} FROM hpo_gn_holds ORDER BY key").fetchall()
        assert rows == [
            (key, *hold.arguments, len(hold.charged), hold.measured, hold.lease_until, hold.reason)
            for key, hold in sorted(self.model.holds.items())
        ]
        columns = "hold, epoch, training_s, measuring_s, measuring"
        rows = self.observer.execute(f"SELECT {columns} FROM hpo_gn_charges ORDER BY hold, epoch").fetchall()
        assert rows == [
            (key, epoch, *(charge.took or (None, None)), charge.paid)
            for key, hold in sorted(self.model.holds.items())
            for epoch, charge in sorted(hold.charged.items())
        ]


TestLedgerModel = LedgerMachine.TestCase
TestLedgerModel.settings = settings(
    max_examples=50,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=True,
)
