"""Opening a ledger, and what its tables refuse to a wrong program."""

import threading

import pytest
from sqlalchemy.exc import IntegrityError

from hpo_gn.budget import Account, Ledger
from hpo_gn.errors import (
    ArgumentError,
    StorageError,
)


class TestOpening:
    def test_the_account_is_there_for_the_next_process(self, open_ledger, ledger):
        ledger.hold(0, epochs=8).charge()
        assert open_ledger().account() == Account(limit=100, held=7, spent=1)

    def test_no_account(self, open_ledger):
        with pytest.raises(StorageError, match=r"has no account for study 'study'$"):
            open_ledger()

    def test_the_limit_can_be_raised(self, open_ledger, ledger):
        ledger.hold(0, epochs=100)
        open_ledger(limit=120)
        assert ledger.account().left == 20

    def test_the_limit_can_be_lowered_to_what_is_used(self, open_ledger, ledger, clock):
        ledger.hold(0, epochs=8).charge()
        rule = "^budget must be at least the 8 epochs that are already held and spent, got 7$"
        with pytest.raises(ArgumentError, match=rule):
            open_ledger(limit=7)
        open_ledger(limit=8)
        assert ledger.account().left == 0
        clock.now += 11  # the dead hold nothing
        assert open_ledger(limit=1).account() == Account(limit=1, held=0, spent=1)

    def test_many_first_openers_share_one_account(self, url):
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

    def test_another_version_of_the_schema_is_refused(self, open_ledger, ledger, raw):
        raw("UPDATE hpo_gn_version SET version = 2")
        with pytest.raises(
            StorageError, match=r"^the ledger has schema version 2; this hpo_gn reads version 1$"
        ):
            open_ledger()


class TestSchema:
    """The last line of defence: what a wrong program cannot write."""

    @pytest.mark.parametrize(
        ("sql", "constraint"),
        [
            ("UPDATE hpo_gn_accounts SET spent = epoch_limit - held + 1", "hpo_gn_within_limit"),
            ("UPDATE hpo_gn_accounts SET held = epoch_limit - spent + 1", "hpo_gn_within_limit"),
            ("UPDATE hpo_gn_accounts SET epoch_limit = held + spent - 1", "hpo_gn_within_limit"),
            ("UPDATE hpo_gn_accounts SET held = -1", "hpo_gn_within_limit"),
            ("UPDATE hpo_gn_accounts SET spent = -1", "hpo_gn_within_limit"),
            ("UPDATE hpo_gn_holds SET charged = epochs + 1", "hpo_gn_charged_within_hold"),
            ("UPDATE hpo_gn_holds SET charged = -1", "hpo_gn_charged_within_hold"),
            (
                "INSERT INTO hpo_gn_holds"
                " (key, account, trial, owner, epochs, gpus, charged, held_at, lease_until)"
                " SELECT 'second', account, trial, owner, 1, 1, 0, 0, 0 FROM hpo_gn_holds",
                "(?i)unique",
            ),
            (
                "INSERT INTO hpo_gn_charges (hold, epoch, gpus, charged_at)"
                " SELECT hold, epoch, 1, 0 FROM hpo_gn_charges",
                "(?i)unique",
            ),
            (
                "INSERT INTO hpo_gn_accounts (study, epoch_limit, held, spent)"
                " SELECT study, 1, 0, 0 FROM hpo_gn_accounts",
                "(?i)unique",
            ),
        ],
    )
    def test_refuses(self, ledger, raw, sql, constraint):
        ledger.hold(0, epochs=8).charge()
        with pytest.raises(IntegrityError, match=constraint):
            raw(sql)
        assert ledger.account() == Account(limit=100, held=7, spent=1)

    def test_a_charge_that_breaks_a_rule_leaves_nothing_behind(self, ledger, raw):
        """The account is wrong here as no program of ours makes it: the hold's epochs are not held."""
        hold = ledger.hold(0, epochs=8)
        raw("UPDATE hpo_gn_accounts SET held = 0")
        with pytest.raises(StorageError, match=r"^cannot use the ledger at .*hpo_gn_within_limit"):
            hold.charge()
        assert raw("SELECT spent FROM hpo_gn_accounts") == [(0,)]
        assert raw("SELECT * FROM hpo_gn_charges") == []
