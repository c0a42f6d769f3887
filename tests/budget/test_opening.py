"""Opening a ledger: the first of many, again, with another limit, and without touching anything."""

import threading

import pytest
from sqlalchemy.exc import DBAPIError

from hpo_gn.budget import Account, Ledger
from hpo_gn.errors import ArgumentError, StorageError


def test_the_account_is_there_for_the_next_process(open_ledger, ledger):
    ledger.hold(0, epochs=8).charge()
    assert open_ledger().account() == Account(limit=100, held=7, spent=1)


def test_no_account(open_ledger, ledger):
    with pytest.raises(StorageError, match=r"^the ledger at .* has no account for study 'another'$"):
        open_ledger("another")


def test_the_limit_can_be_raised(open_ledger, ledger):
    ledger.hold(0, epochs=100)
    open_ledger(limit=120)
    assert ledger.account().left == 20


def test_the_limit_can_be_lowered_to_what_is_used(open_ledger, ledger, clock):
    ledger.hold(0, epochs=8).charge()
    rule = "^budget must be at least the 8 epochs that are already held and spent, got 7$"
    with pytest.raises(ArgumentError, match=rule):
        open_ledger(limit=7)
    open_ledger(limit=8)
    assert ledger.account().left == 0
    clock.now += 11  # the dead hold nothing
    assert open_ledger(limit=1).account() == Account(limit=1, held=0, spent=1)


def test_many_first_openers_share_one_account(url):
    barrier, failures = threading.Barrier(8), []

    def open_first():
        barrier.wait()
        try:
            with_limit = Ledger(url, "study", limit=100)
            with_limit.hold(threading.get_native_id() % 10**6, epochs=1)
            with_limit.close()
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=open_first) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    ledger = Ledger(url, "study")
    assert ledger.account() == Account(limit=100, held=8, spent=0)
    ledger.close()


def test_another_version_of_the_schema_is_refused(open_ledger, ledger, raw):
    raw("UPDATE hpo_gn_version SET version = 1")
    with pytest.raises(StorageError, match=r"^the ledger has schema version 1; this hpo_gn reads version 2$"):
        open_ledger()


def test_what_is_not_there_is_told_and_not_made(tmp_path):
    with pytest.raises(StorageError, match=rf"^there is no database at sqlite:///{tmp_path}/study.db$"):
        Ledger.open_existing(f"sqlite:///{tmp_path}/study.db", "study")
    assert list(tmp_path.iterdir()) == []


def test_a_database_without_a_ledger_gets_none_by_being_read(url, run_sql):
    run_sql("CREATE TABLE something (id INTEGER)")
    with pytest.raises(StorageError, match=r"^the ledger at .* has no account for study 'study'$"):
        Ledger.open_existing(url, "study")
    with pytest.raises(DBAPIError, match="hpo_gn_version"):
        run_sql("SELECT * FROM hpo_gn_version")


def test_of_another_version_is_refused_to_readers_too(url, ledger, raw):
    raw("UPDATE hpo_gn_version SET version = 3")
    with pytest.raises(StorageError, match=r"^the ledger has schema version 3; this hpo_gn reads version 2$"):
        Ledger.open_existing(url, "study")


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_reading_waits_for_no_writer(url, ledger):
    def read_meanwhile(account):
        account.move(held=5)
        reader = Ledger.open_existing(url, "study")
        try:
            return reader.statement().account
        finally:
            reader.close()

    assert ledger._locked(read_meanwhile) == Account(limit=100, held=0, spent=0)
    assert ledger.account().held == 5
