"""The last line of defence: what the tables refuse to a wrong program."""

import pytest
from sqlalchemy.exc import IntegrityError

from hpo_gn.budget import Account
from hpo_gn.errors import StorageError


class TestSchema:
    @pytest.mark.parametrize(
        ("sql", "constraint"),
        [
            ("UPDATE hpo_gn_accounts SET spent = epoch_limit - held + 1", "hpo_gn_within_limit"),
            ("UPDATE hpo_gn_accounts SET held = epoch_limit - spent + 1", "hpo_gn_within_limit"),
            ("UPDATE hpo_gn_accounts SET epoch_limit = held + spent - 1", "hpo_gn_within_limit"),
            ("UPDATE hpo_gn_accounts SET held = -1", "hpo_gn_within_limit"),
            ("UPDATE hpo_gn_accounts SET spent = -1", "hpo_gn_within_limit"),
            ("UPDATE hpo_gn_accounts SET held = epoch_limit - spent + 1.0 / 1024", "hpo_gn_within_limit"),
            ("UPDATE hpo_gn_accounts SET measuring = spent + 1.0 / 1024", "hpo_gn_within_limit"),
            ("UPDATE hpo_gn_accounts SET measuring = -1", "hpo_gn_within_limit"),
            ("UPDATE hpo_gn_holds SET measured = -1", "hpo_gn_measured_is_positive"),
            ("UPDATE hpo_gn_holds SET measuring = -1", "hpo_gn_measured_is_positive"),
            ("UPDATE hpo_gn_holds SET charged = epochs + 1", "hpo_gn_charged_within_hold"),
            ("UPDATE hpo_gn_holds SET charged = -1", "hpo_gn_charged_within_hold"),
            (
                "INSERT INTO hpo_gn_holds"
                " (key, account, trial, owner, epochs, gpus, charged, measuring, measured,"
                " held_at, seen_at, lease_until)"
                " SELECT 'second', account, trial, owner, 1, 1, 0, 0, 0, 0, 0, 0 FROM hpo_gn_holds",
                "(?i)unique",
            ),
            (
                "INSERT INTO hpo_gn_charges (hold, epoch, gpus, charged_at, measuring)"
                " SELECT hold, epoch, 1, 0, 0 FROM hpo_gn_charges",
                "(?i)unique",
            ),
            (
                "INSERT INTO hpo_gn_accounts (study, epoch_limit, held, spent, measuring)"
                " SELECT study, 1, 0, 0, 0 FROM hpo_gn_accounts",
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
