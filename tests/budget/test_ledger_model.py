"""The ledger against a plain Python model of it: any calls in any order, each replayed, at any time."""

import sqlite3
import tempfile
from contextlib import ExitStack
from unittest.mock import patch

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from hpo_gn.budget import Ledger
from hpo_gn.errors import AlreadyHeldError, ArgumentError, BudgetExhaustedError, HoldClosedError
from tests.budget.plain_ledger import LEASE_S, Model

OWNERS = ("anna", "ben")


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
    @initialize(limit=st.integers(12, 60), share=shares)
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

    @rule(which=which, owner=owners, measuring_s=st.sampled_from([1, 9, 50]), times=replays)
    def run_an_epoch(self, times, which, owner, measuring_s):
        """What a worker does all the time, and chance alone seldom."""
        key = self.key(which)
        epoch = 1 + max(self.model.holds[key].charged, default=0) if key in self.model.holds else 1
        self.charge_epoch(times, key, epoch, owner)
        self.record_epoch(times, key, epoch, 4, measuring_s)

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
