"""What keeps a hold alive, and what a closed one refuses."""

import threading
import time

import pytest
from sqlalchemy import select

from hpo_gn.budget import Account
from hpo_gn.budget.clock import NOW
from hpo_gn.errors import (
    HoldClosedError,
)


class TestClosedHolds:
    @pytest.fixture
    def closed(self, ledger, clock, request):
        hold = ledger.hold(0, epochs=8)
        hold.charge()
        if request.param == "settled":
            hold.settle("gave up")
        elif request.param == "released":
            ledger.release(ledger.owner)
        else:
            clock.now += 10.5
        if request.param == "reaped":
            ledger.account()
        return hold

    REFUSALS = pytest.mark.parametrize(
        ("closed", "message"),
        [
            ("settled", "the hold on trial 0 is settled: gave up"),
            ("released", "the hold on trial 0 is settled: its worker died"),
            ("lapsed", r"the lease on trial 0 lapsed 0\.5 s ago"),
            ("reaped", "the hold on trial 0 is settled: its lease lapsed"),
        ],
        indirect=["closed"],
    )

    @REFUSALS
    @pytest.mark.parametrize(
        "call",
        [
            lambda hold: hold.charge(1),
            lambda hold: hold.charge(2),
            lambda hold: hold.record(1, training_s=1, measuring_s=1),
            lambda hold: hold.ledger.renew(hold.key),
        ],
        ids=["charge again", "charge", "record", "renew"],
    )
    def test_refuse_everything(self, ledger, closed, message, call):
        with pytest.raises(HoldClosedError, match=f"^{message}$"):
            call(closed)
        assert ledger.account() == Account(limit=100, held=0, spent=1)
        assert ledger.seconds() == (0, 0)

    @REFUSALS
    def test_can_be_settled_and_the_trial_held_again(self, ledger, closed, message):
        closed.settle()
        with ledger.hold(0, epochs=99):
            assert ledger.account() == Account(limit=100, held=99, spent=1)


class TestLeases:
    def test_a_lapsed_lease_gives_back_what_was_not_charged(self, ledger, clock):
        ledger.hold(0, epochs=60).charge()
        ledger.hold(1, epochs=40)
        clock.now += 10
        assert ledger.account() == Account(limit=100, held=99, spent=1)
        clock.now += 0.001
        assert ledger.account() == Account(limit=100, held=0, spent=1)

    def test_the_epochs_of_the_dead_can_be_held_at_once(self, ledger, clock):
        ledger.hold(0, epochs=100)
        clock.now += 11
        ledger.hold(1, epochs=100)
        assert [hold["trial"] for hold in ledger.open_holds()] == [1]

    @pytest.mark.parametrize(
        "renew",
        [
            lambda hold: hold.charge(1),
            lambda hold: hold.charge(2),
            lambda hold: hold.record(1, training_s=0, measuring_s=0),
            lambda hold: hold.ledger.renew(hold.key),
        ],
        ids=["charge again", "charge", "record", "renew"],
    )
    def test_every_call_renews(self, ledger, clock, renew):
        hold = ledger.hold(0, epochs=8)
        hold.charge()
        clock.now += 9
        renew(hold)
        clock.now += 9
        assert ledger.account().held > 0

    def test_a_lease_runs_from_when_the_lock_was_got(self, ledger):
        """A clock read before the lock would grant an old lease, or take one that lapsed in the queue."""
        thread = threading.Thread(target=ledger.hold, args=(0,), kwargs={"epochs": 1})

        def keep(account):
            thread.start()
            time.sleep(0.3)
            return account.connection.execute(select(NOW)).scalar_one()

        released = ledger._locked(keep)
        thread.join()
        assert ledger.open_holds()[0]["held_at"] >= released

    def test_the_context_keeps_a_hold_alive_past_its_lease(self, open_ledger, ledger):
        short = open_ledger(lease_s=0.6)
        with short.hold(0, epochs=8) as hold:
            time.sleep(1.5)
            assert ledger.account().held == 8
            hold.charge()
        assert ledger.account() == Account(limit=100, held=0, spent=1)

    def test_without_the_context_the_lease_lapses(self, open_ledger, ledger):
        hold = open_ledger(lease_s=0.2).hold(0, epochs=8)
        time.sleep(0.4)
        with pytest.raises(HoldClosedError):
            hold.charge()

    def test_no_thread_is_left_behind(self, ledger):
        before = set(threading.enumerate())
        with ledger.hold(0, epochs=8):
            assert [thread.name for thread in set(threading.enumerate()) - before] == ["lease of trial 0"]
        assert set(threading.enumerate()) == before

    def test_release_settles_the_holds_of_one_owner(self, open_ledger, ledger):
        other = open_ledger(owner="alive")
        other.hold(0, epochs=5)
        ledger.hold(1, epochs=6)
        ledger.hold(2, epochs=7)
        other.release(ledger.owner)
        assert [hold["owner"] for hold in other.open_holds()] == ["alive"]
        assert other.account().held == 5

    def test_deaths_are_counted_and_endings_are_not(self, open_ledger, ledger, clock):
        assert ledger.deaths(0) == 0
        ledger.hold(0, epochs=1)
        clock.now += 11
        ledger.account()
        ledger.hold(0, epochs=1)
        ledger.release(ledger.owner)
        ledger.hold(0, epochs=1).settle("KeyboardInterrupt")
        ledger.hold(1, epochs=1)
        ledger.release(ledger.owner)
        open_ledger("another study", limit=1)
        assert [ledger.deaths(trial) for trial in (0, 1, 2)] == [2, 1, 0]
        assert open_ledger("another study").deaths(0) == 0
