"""Each guarantee's scenario fails when what gives the guarantee is taken away.

The scenarios' own tests show that they find nothing at the same sizes as long as it is there.
"""

import contextlib
import itertools

import pytest
from sqlalchemy import CheckConstraint, bindparam, select

from hpo_gn.budget import Account, Ledger, account, engine
from hpo_gn.budget.account import LockedAccount
from hpo_gn.budget.clock import database_clock
from hpo_gn.budget.database import Database
from hpo_gn.budget.schema import accounts
from tests.chaos import crashes, dead_holds, kills, model, stops
from tests.chaos.databases import query, reader
from tests.chaos.processes import on_stage

pytestmark = pytest.mark.slow

FEW_KILLS = kills.Sizes(workers=4, epochs=150, kills=4, lease_s=1.0)
ATTEMPTS = 5


def count_broken(name, module, databases, sizes):
    """How often a guarantee is broken, in as many attempts as it takes to see it."""
    counts = (on_stage(module.scenario, databases, sizes).broken[name] for _ in range(ATTEMPTS))
    return next((count for count in counts if count), 0)


@pytest.fixture
def no_check(monkeypatch):
    """Tables without the CHECK that keeps held and spent within the limit."""
    kept = {each for each in accounts.constraints if not isinstance(each, CheckConstraint)}
    monkeypatch.setattr(accounts, "constraints", kept)


@pytest.fixture
def blind_ledger(monkeypatch):
    """A ledger that grants every hold."""
    monkeypatch.setattr(Account, "left", property(lambda self: self.limit))


def overspend(url):
    with reader(url) as run:
        run("UPDATE hpo_gn_accounts SET spent = epoch_limit + 1 RETURNING id")


def test_with_the_check_overspending_cannot_be_written(databases):
    url = databases.new_url()
    Ledger(url, "study", limit=10).close()
    with pytest.raises(Exception, match="hpo_gn_within_limit"):
        overspend(url)
    assert query(url, "SELECT spent FROM hpo_gn_accounts") == [(0,)]


def test_without_the_check_it_can(databases, no_check):
    url = databases.new_url()
    Ledger(url, "study", limit=10).close()
    overspend(url)
    assert query(url, "SELECT spent FROM hpo_gn_accounts") == [(11,)]


@pytest.mark.parametrize("checked", [True, False])
def test_the_check_stops_even_a_ledger_that_grants_every_hold(sqlite, blind_ledger, checked, request):
    if not checked:
        request.getfixturevalue("no_check")
    findings = on_stage(kills.scenario, sqlite, FEW_KILLS)
    assert (findings.broken["reads that were overspent"] == 0) == checked, findings
    assert findings.verdict == "BROKEN"


def test_a_deferred_transaction_meets_locks(monkeypatch, sqlite):
    monkeypatch.setattr(Database, "_write", Database._read)
    assert count_broken("errors that a ledger had from its database", kills, sqlite, FEW_KILLS)


def test_an_account_that_is_not_locked_is_read_out_of_date(monkeypatch, postgresql):
    reading = select(accounts, database_clock().label("now")).where(accounts.c.id == bindparam("account"))
    monkeypatch.setattr(account, "_LOCK", reading)
    assert count_broken("errors that reached a worker", kills, postgresql, kills.SHORT)


def test_charging_after_the_run_runs_epochs_that_are_not_charged(monkeypatch, sqlite):
    waiting = {}
    charge, settle = Ledger.charge, Ledger.settle

    def charge_the_one_before(self, key, epoch):
        before, waiting[key] = waiting.get(key, epoch), epoch
        if before != epoch:
            charge(self, key, before)

    def charge_the_last_and_settle(self, key, reason):
        if key in waiting:
            with contextlib.suppress(Exception):
                charge(self, key, waiting.pop(key))
        settle(self, key, reason)

    monkeypatch.setattr(Ledger, "charge", charge_the_one_before)
    monkeypatch.setattr(Ledger, "settle", charge_the_last_and_settle)
    assert count_broken("epochs run but not charged", kills, sqlite, kills.SHORT)


def test_a_charge_without_its_key_is_charged_again_when_it_is_replayed(monkeypatch, sqlite):
    numbers, charge = itertools.count(1), Ledger.charge
    monkeypatch.setattr(Ledger, "charge", lambda self, key, _epoch: charge(self, key, next(numbers)))
    assert count_broken("charged but not run, beyond one a kill", kills, sqlite, FEW_KILLS)


@pytest.fixture
def no_lease_check(monkeypatch):
    monkeypatch.setattr(LockedAccount, "find_live", LockedAccount.find)


def test_without_the_lease_check_the_stopped_charge_when_they_wake_up(databases, no_lease_check):
    assert count_broken("charge not refused", stops, databases, stops.SHORT)


def test_without_the_lease_check_the_model_differs(no_lease_check):
    assert model.scenario(model.SHORT).broken == {"differences": 1}


def test_without_settling_lapsed_leases_the_dead_hold_for_ever(monkeypatch, sqlite):
    monkeypatch.setattr(LockedAccount, "reap", lambda self: None)
    sizes = dead_holds.Sizes(workers=2, kills=2, lease_s=0.5)
    assert count_broken("dead holds never settled", dead_holds, sqlite, sizes)


def test_commits_that_are_not_synced_are_lost_with_the_server(monkeypatch, postgresql):
    work = crashes.work

    def work_without_syncing(*arguments, **options):
        monkeypatch.setitem(engine._SERVER, "options", "-c synchronous_commit=off")  # of this worker alone
        work(*arguments, **options)

    monkeypatch.setattr(crashes, "work", work_without_syncing)
    assert count_broken("acknowledged and lost", crashes, postgresql, crashes.Sizes(server_stops=1))
