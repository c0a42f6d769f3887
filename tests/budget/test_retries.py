"""A database that goes away for a while: every call ends as if it had been made once."""

import threading
import time

import psycopg
import pytest
from sqlalchemy.exc import OperationalError

from hpo_gn.budget import Account
from hpo_gn.budget.database import Database
from hpo_gn.errors import AlreadyHeldError, BudgetExhaustedError, StorageError

LOST = OperationalError("", {}, psycopg.OperationalError("server closed the connection unexpectedly"))


def held(ledger, trial, **options):
    return ledger.hold(trial, epochs=4, **options).trial


def refused(ledger, trial):
    with pytest.raises(AlreadyHeldError):
        held(ledger, trial)


def turn(ledger):
    with ledger.turn() as mine:
        return mine.trial


STEPS = {
    "hold": lambda ledger: held(ledger, 0, measuring=0.5, key="mine"),
    "hold again": lambda ledger: held(ledger, 0, measuring=0.5, key="mine"),
    "charge": lambda ledger: ledger.charge("mine", 1),
    "record": lambda ledger: ledger.record("mine", 1, training_s=4, measuring_s=1),
    "charge the next": lambda ledger: ledger.charge("mine", 2),
    "renew": lambda ledger: ledger.renew("mine"),
    "account": lambda ledger: ledger.account(),
    "statement": lambda ledger: ledger.statement(),
    "open holds": lambda ledger: [hold["trial"] for hold in ledger.open_holds()],
    "settle": lambda ledger: ledger.settle("mine", "finished"),
    "hold without a key": lambda ledger: held(ledger, 1),
    "refused": lambda ledger: refused(ledger, 1),
    "release": lambda ledger: ledger.release(ledger.owner),
    "deaths": lambda ledger: ledger.deaths(1),
    "seconds": lambda ledger: ledger.seconds(),
    "turn": turn,
}
TABLES = {
    "accounts": "SELECT epoch_limit, held, spent, measuring FROM hpo_gn_accounts",
    "holds": "SELECT trial, epochs, charged, measuring, measured, reason FROM hpo_gn_holds ORDER BY trial",
    "charges": "SELECT epoch, training_s, measuring_s, measuring FROM hpo_gn_charges ORDER BY epoch",
}


def failing_once(transact, when, attempts):
    """The transaction, which fails the first time it is tried: before it begins or after its commit."""

    def attempt(self, work):
        first = (work, self) not in attempts
        attempts.append((work, self))
        if first and when == "before":
            raise LOST
        result = transact(self, work)
        if first and when == "after":
            raise LOST
        return result

    return attempt


def run(ledger, raw):
    """What each step gives back, and the tables in the end."""
    return [step(ledger) for step in STEPS.values()], {name: raw(sql) for name, sql in TABLES.items()}


@pytest.mark.parametrize("when", ["before", "after"])
def test_every_call_is_as_if_it_had_been_made_once(open_ledger, ledger, raw, clock, monkeypatch, when):
    """After the commit only its acknowledgement is lost, which a user of the ledger cannot tell."""
    expected = run(ledger, raw)
    for table in ("charges", "holds", "accounts"):
        raw(f"DELETE FROM hpo_gn_{table}")
    attempts = []
    monkeypatch.setattr("hpo_gn.budget.database._FIRST_PAUSE_S", 0)
    for name in ("_write", "_read"):
        monkeypatch.setattr(Database, name, failing_once(getattr(Database, name), when, attempts))
    again = open_ledger(limit=100, lease_s=10, owner=ledger.owner)
    assert run(again, raw) == expected
    # A refusal needs its transaction to be run: it is not one that is lost after its commit.
    calls = 1 + len(STEPS) + 1  # opening the ledger, and giving the turn back
    assert len(attempts) == 2 * calls - (when == "after")


def test_a_refusal_is_not_repeated_and_takes_everything_back(ledger):
    calls = []

    def refuse(account):
        calls.append(account.move(held=1))
        raise BudgetExhaustedError

    with pytest.raises(BudgetExhaustedError):
        ledger._locked(refuse)
    assert len(calls) == 1
    assert ledger.account().held == 0


def test_patience_ends(ledger, monkeypatch):
    monkeypatch.setattr("hpo_gn.budget.patience.PATIENCE_S", 0.3)
    monkeypatch.setattr(Database, "_write", lambda *_: (_ for _ in ()).throw(LOST))
    began = time.monotonic()
    with pytest.raises(StorageError, match=r"^cannot use the ledger at .*: server closed the connection"):
        ledger.hold(0, epochs=1)
    assert time.monotonic() - began > 0.1


class TestRealServer:
    @pytest.fixture
    def url(self, postgresql_url):
        return postgresql_url

    @pytest.fixture
    def cut(self, ledger, run_sql):
        """Ends the ledger's connections, as a server that stops does."""
        mine = "FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()"
        ledger.account()
        return lambda: run_sql(f"SELECT pg_terminate_backend(pid) {mine}")

    def test_cuts_an_idle_connection(self, ledger, cut):
        hold = ledger.hold(0, epochs=8)
        for epoch in range(1, 4):
            assert cut()
            hold.charge(epoch)
        assert ledger.account() == Account(limit=100, held=5, spent=3)

    def test_cuts_a_transaction(self, ledger, cut):
        cuts = []

        def charge(account):
            account.move(held=1)
            if not cuts:
                cuts.append(cut())
            account.move(held=2)

        ledger._locked(charge)
        assert cuts == [[(True,)]]
        assert ledger.account().held == 3

    def test_cuts_who_waits_for_the_account(self, ledger, cut, open_ledger):
        inside, waiter = threading.Event(), open_ledger(lease_s=10)
        thread = threading.Thread(target=waiter.hold, args=(0,), kwargs={"epochs": 5})

        def keep(_account):
            if not inside.is_set():
                inside.set()
                thread.start()
                time.sleep(0.3)
                cut()

        ledger._locked(keep)
        thread.join(30)
        assert ledger.account().held == 5
