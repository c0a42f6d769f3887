"""What a user of the ledger relies on, on SQLite and on a real PostgreSQL server."""

import numpy as np
import optuna
import pytest
from optuna.testing.storages import STORAGE_MODES, StorageSupplier

from hpo_gn.budget import Account, Ledger
from hpo_gn.errors import (
    AlreadyHeldError,
    ArgumentError,
    BudgetExhaustedError,
    HoldClosedError,
)


def test_a_trial_holds_charges_and_gives_back(ledger):
    with ledger.hold(0, epochs=8) as hold:
        assert ledger.account() == Account(limit=100, held=8, spent=0)
        hold.charge()
        hold.charge()
        assert ledger.account() == Account(limit=100, held=6, spent=2)
        assert ledger.account().left == 92
    assert ledger.account() == Account(limit=100, held=0, spent=2)


def test_an_epoch_costs_its_gpus(ledger):
    with ledger.hold(0, epochs=10, gpus=4) as hold:
        hold.charge()
        assert ledger.account() == Account(limit=100, held=36, spent=4)
    assert ledger.account() == Account(limit=100, held=0, spent=4)
    with pytest.raises(
        BudgetExhaustedError, match="trial 1 needs 100 GPU×epochs, and the account has 96 left"
    ):
        ledger.hold(1, epochs=25, gpus=4)


def test_an_exception_gives_the_epochs_back_and_is_not_swallowed(ledger, raw):
    hold = ledger.hold(0, epochs=8)
    with pytest.raises(ZeroDivisionError), hold:  # noqa: PT012  # a context cannot be tested otherwise
        hold.charge()
        raise ZeroDivisionError
    assert ledger.account() == Account(limit=100, held=0, spent=1)
    assert raw("SELECT reason FROM hpo_gn_holds") == [("ZeroDivisionError",)]


def test_what_is_held_is_not_held_twice(ledger):
    ledger.hold(0, epochs=60)
    with pytest.raises(
        BudgetExhaustedError, match="trial 1 needs 41 GPU×epochs, and the account has 40 left"
    ):
        ledger.hold(1, epochs=41)
    ledger.hold(1, epochs=40)
    with pytest.raises(BudgetExhaustedError):
        ledger.hold(2, epochs=1)


def test_a_hold_charges_no_more_than_its_epochs(ledger):
    with ledger.hold(0, epochs=2) as hold:
        hold.charge()
        hold.charge()
        with pytest.raises(BudgetExhaustedError, match="all 2 epochs held for trial 0 are charged"):
            hold.charge()
        hold.charge(2)
    assert ledger.account() == Account(limit=100, held=0, spent=2)


def test_a_continued_trial_charges_the_epochs_it_runs(ledger):
    with ledger.hold(0, epochs=2) as hold:
        hold.charge(41)
        hold.charge()
        hold.charge(42)
    assert ledger.account().spent == 2


def test_a_trial_has_one_holder_at_a_time(open_ledger, ledger):
    other = open_ledger(lease_s=10, owner="somebody")
    with other.hold(3, epochs=1), pytest.raises(AlreadyHeldError, match="trial 3 is held by somebody"):
        ledger.hold(3, epochs=1)
    with ledger.hold(3, epochs=1):
        pass


def test_a_hold_is_for_a_trial_or_its_number(ledger):
    class Numbered:
        number = np.int64(7)

    assert [ledger.hold(trial, epochs=np.int64(1)).trial for trial in (5, np.int32(6), Numbered())] == [
        5,
        6,
        7,
    ]


def test_accounts_of_one_database_do_not_mix(open_ledger, ledger):
    other = open_ledger("another study", limit=5, owner=ledger.owner)
    key = other.hold(0, epochs=5).key
    ledger.hold(0, epochs=7)
    assert (ledger.account().held, other.account().held) == (7, 5)
    for call in (ledger.renew, lambda key: ledger.charge(key, 1), lambda key: ledger.settle(key, "")):
        with pytest.raises(ArgumentError, match=r"^key must be that of a hold of this account, got "):
            call(key)
    with pytest.raises(HoldClosedError, match="is settled or was made with other arguments"):
        ledger.hold(0, epochs=5, key=key)
    ledger.release(other.owner)
    assert other.account().held == 5


class TestReplays:
    def test_the_same_key_gives_the_same_hold(self, ledger):
        holds = [ledger.hold(0, epochs=8, gpus=2, key="mine") for _ in range(3)]
        assert ledger.account().held == 16
        holds[0].charge()
        holds[1].charge()
        assert ledger.account() == Account(limit=100, held=14, spent=2)

    def test_a_hold_found_again_goes_on_after_its_last_charge(self, ledger):
        ledger.hold(0, epochs=8, key="mine").charge(4)
        ledger.hold(0, epochs=8, key="mine").charge()
        assert ledger.account().spent == 2

    @pytest.mark.parametrize("other", [{"trial": 1}, {"epochs": 7}, {"gpus": 2}, {"owner": "somebody else"}])
    def test_the_same_key_with_other_arguments_is_refused(self, open_ledger, ledger, other):
        arguments = {"trial": 0, "epochs": 8, "gpus": 1, "owner": ledger.owner}
        ledger.hold(0, epochs=8, key="mine")
        changed = arguments | other
        asking = open_ledger(lease_s=10, owner=changed.pop("owner"))
        with pytest.raises(HoldClosedError, match=r"^hold mine is settled or was made with other arguments$"):
            asking.hold(**changed, key="mine")
        assert ledger.account().held == 8

    def test_the_key_of_a_closed_hold_is_refused(self, ledger, clock):
        ledger.hold(0, epochs=8, key="settled").settle()
        ledger.hold(1, epochs=8, key="lapsed")
        clock.now += 11
        for trial, key in enumerate(["settled", "lapsed"]):
            with pytest.raises(HoldClosedError):
                ledger.hold(trial, epochs=8, key=key)
        assert ledger.account().held == 0

    def test_an_epoch_is_charged_once(self, ledger):
        hold = ledger.hold(0, epochs=8)
        for _ in range(3):
            hold.charge(1)
        assert ledger.account() == Account(limit=100, held=7, spent=1)

    def test_settling_again_changes_nothing(self, ledger, raw):
        hold = ledger.hold(0, epochs=8)
        for reason in ("first", "second"):
            hold.settle(reason)
        assert ledger.account().held == 0
        assert raw("SELECT reason FROM hpo_gn_holds") == [("first",)]


class TestTurns:
    def test_one_worker_at_a_time_has_the_turn(self, open_ledger, ledger):
        other = open_ledger()
        with ledger.turn() as mine, other.turn() as theirs:
            assert mine is not None
            assert theirs is None
            assert ledger.open_holds() == []
            assert ledger.account() == Account(limit=100, held=0, spent=0)
        with other.turn() as mine:
            assert mine

    def test_the_turn_of_the_dead_passes_on(self, open_ledger, ledger, clock):
        dead = open_ledger(lease_s=10)
        with dead.turn():
            clock.now += 11
            with ledger.turn() as mine:
                assert mine

    def test_the_turn_is_given_back_after_an_exception(self, ledger):
        with pytest.raises(ZeroDivisionError), ledger.turn():
            raise ZeroDivisionError
        with ledger.turn() as mine:
            assert mine

    def test_the_turn_is_had_when_the_budget_is_spent(self, open_ledger):
        spent = open_ledger("small", limit=1)
        spent.hold(0, epochs=1).charge()
        with spent.turn() as mine:
            assert mine


class TestSeconds:
    def test_are_summed_over_the_account(self, open_ledger, ledger):
        for study, trial in [(ledger, 0), (ledger, 1), (open_ledger("another study", limit=9), 0)]:
            hold = study.hold(trial, epochs=2)
            hold.charge()
            hold.record(1, training_s=2, measuring_s=0.5)
            hold.charge()
        assert ledger.seconds() == (4, 1)

    def test_are_zero_at_first(self, ledger):
        assert ledger.seconds() == (0, 0)

    def test_are_recorded_once_for_an_epoch(self, ledger):
        hold = ledger.hold(0, epochs=2)
        hold.charge()
        for _ in range(3):
            hold.record(1, training_s=2, measuring_s=0.5)
        assert ledger.seconds() == (2, 0.5)

    def test_of_an_epoch_that_was_not_charged_are_refused(self, ledger):
        hold = ledger.hold(0, epochs=2)
        with pytest.raises(ArgumentError, match=r"^epoch must be one that was charged, got 1$"):
            hold.record(1, training_s=2, measuring_s=0.5)


class TestStudies:
    def test_the_ledger_lives_in_the_studys_database(self, url):
        study = optuna.create_study(
            study_name="öffentlich/α 'quoted'",
            storage=url.replace("postgresql:", "postgresql+psycopg:"),
            sampler=optuna.samplers.RandomSampler(seed=0),
        )
        ledger = Ledger.of_study(study, limit=10)

        def objective(trial):
            x = trial.suggest_float("x", 0, 1)
            with ledger.hold(trial, epochs=4) as hold:
                for _ in range(2):
                    hold.charge()
            return x

        study.optimize(objective, n_trials=9, catch=BudgetExhaustedError)
        assert ledger.account() == Account(limit=10, held=0, spent=8)
        states = [trial.state.name for trial in study.trials]
        assert states == ["COMPLETE"] * 4 + ["FAIL"] * 5
        again = Ledger.of_study(study)
        assert again.account().spent == 8
        again.close()
        ledger.close()
        study._storage._backend.engine.dispose()

    @pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # Optuna's supplier leaves one
    @pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
    @pytest.mark.parametrize("storage", STORAGE_MODES)
    @pytest.mark.parametrize("url", ["sqlite"], indirect=True)
    def test_any_storage_will_do(self, url, storage):
        with StorageSupplier(storage) as supplied:
            study = optuna.create_study(storage=supplied, sampler=optuna.samplers.RandomSampler(seed=0))
            ledger = self.open_ledger(study, url, "sqlite" in storage)

            def objective(trial):
                with ledger.hold(trial, epochs=2) as hold:
                    hold.charge()
                return trial.suggest_float("x", 0, 1)

            study.optimize(objective, n_trials=3)
            assert ledger.account() == Account(limit=10, held=0, spent=3)
            assert [trial.trial for trial in ledger.statement().trials] == [0, 1, 2]
            ledger.close()

    def open_ledger(self, study, url, in_database):
        """In the study's own database where it has one, else at a URL."""
        if in_database:
            return Ledger.of_study(study, limit=10)
        rule = (
            r"^ledger must be a database URL, since this study's storage is no database, got '\w+Storage\w*'$"
        )
        with pytest.raises(ArgumentError, match=rule):
            Ledger.of_study(study, limit=10)
        return Ledger.of_study(study, limit=10, url=url)
