"""What a statement says of workers and trials, and that saying it changes nothing."""

import pytest

from hpo_gn.budget import Account, Ledger, Statement, TrialEntry, WorkerEntry


@pytest.fixture
def busy(open_ledger, ledger, clock):
    """Anna finished trial 0, died of trial 1 and proposes; ben runs trial 1 again, and is late."""
    anna, ben = (open_ledger(lease_s=10, owner=owner) for owner in ("anna", "ben"))
    hold = anna.hold(0, epochs=4, gpus=2, measuring=0.5)
    hold.charge()
    hold.record(1, training_s=4, measuring_s=1)
    hold.charge()
    hold.settle()
    anna.hold(1, epochs=3).charge()
    clock.now += 1
    ben.release("anna")
    with anna.turn():
        clock.now += 1
        hold = ben.hold(1, epochs=5, measuring=1)
        hold.charge(2)
        hold.record(2, training_s=8, measuring_s=2)
        clock.now += 12
    return ledger


def test_of_workers_and_trials(busy):
    assert busy.statement() == Statement(
        Account(limit=100, held=8.75, spent=6.75, measuring=0.75),
        workers=(
            WorkerEntry("anna", (), 3, training_s=4, measuring_s=1, last_seen_s=13, deaths=1),
            WorkerEntry("ben", (1,), 1, training_s=8, measuring_s=2, last_seen_s=12, deaths=0),
        ),
        trials=(
            TrialEntry(0, None, 2, 4.5, 0, training_s=4, measuring_s=1, lease_left_s=None, deaths=0),
            TrialEntry(1, "ben", 2, 2.25, 8.75, training_s=8, measuring_s=2, lease_left_s=-2, deaths=1),
        ),
    )


def test_settles_nothing_and_writes_nothing(busy, raw):
    tables = ("hpo_gn_accounts", "hpo_gn_holds", "hpo_gn_charges")
    before = [raw(f"SELECT * FROM {table}") for table in tables]
    assert busy.statement() == busy.statement()
    assert [raw(f"SELECT * FROM {table}") for table in tables] == before
    busy.account()
    after = busy.statement()
    assert after.trials[1].owner is None
    assert after.trials[1].deaths == 2
    assert after.account.held == 0


def test_of_an_account_where_nothing_has_happened(ledger):
    assert ledger.statement() == Statement(Account(limit=100, held=0, spent=0), workers=(), trials=())


def test_a_renewal_is_seen(ledger, clock):
    hold = ledger.hold(0, epochs=1)
    clock.now += 4
    assert ledger.statement().workers[0].last_seen_s == 4
    hold.confirm()
    assert ledger.statement().workers[0].last_seen_s == 0
    assert ledger.statement().trials[0].lease_left_s == 10


def test_goes_by_the_databases_own_clock(ledger):
    ledger.hold(0, epochs=1)
    assert 0 <= ledger.statement().workers[0].last_seen_s < 5
    assert 5 < ledger.statement().trials[0].lease_left_s <= 10


def test_of_another_study_are_not_mixed_in(open_ledger, ledger):
    open_ledger("another", limit=5).hold(0, epochs=5).charge()
    assert ledger.statement().workers == ledger.statement().trials == ()


def test_a_reader_needs_no_right_to_write(postgresql_url, reader_url):
    writer = Ledger(postgresql_url, "study", limit=5)
    writer.hold(0, epochs=5)
    reader = Ledger.open_existing(reader_url, "study")
    assert reader.statement().account.held == 5
    for each in (writer, reader):
        each.close()
