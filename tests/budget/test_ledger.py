"""What a user of the ledger relies on, on SQLite and on a real PostgreSQL server."""

import math
import threading
import time

import numpy as np
import optuna
import pytest
from optuna.trial import create_trial
from sqlalchemy import create_engine, text
from sqlalchemy.exc import IntegrityError

from hpo_gn.budget import Account, Ledger
from hpo_gn.errors import (
    AlreadyHeldError,
    ArgumentError,
    BudgetExhaustedError,
    HoldClosedError,
    StorageError,
)


@pytest.fixture
def ledger(open_ledger):
    return open_ledger(limit=100, lease_s=10)


@pytest.fixture
def raw(ledger):
    """Runs one SQL statement behind the ledger's back."""
    engine = create_engine(ledger.database.url)

    def run(sql, **values):
        with engine.begin() as connection:
            result = connection.execute(text(sql), values)
            return result.all() if result.returns_rows else None

    yield run
    engine.dispose()


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
    other = open_ledger("another study", limit=5)
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
        with ledger.database.transaction() as connection:
            ledger._lock(connection, ledger._id)
            thread = threading.Thread(target=ledger.hold, args=(0,), kwargs={"epochs": 1})
            thread.start()
            time.sleep(0.3)
            released = ledger.database.now(connection)
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


class TestTurns:
    def test_one_worker_at_a_time_has_the_turn(self, open_ledger, ledger):
        other = open_ledger()
        with ledger.turn() as mine, other.turn() as theirs:
            assert (mine, theirs) == (True, False)
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


_INTEGER = "must be an integer from 1 to 2147483647, got"
_NUMBER = "must be a finite number of seconds, 0 or more, got"


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
class TestBadArguments:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"limit": 0}, f"budget {_INTEGER} 0"),
            ({"limit": -1}, f"budget {_INTEGER} -1"),
            ({"limit": 2.0}, rf"budget {_INTEGER} 2\.0"),
            ({"limit": True}, f"budget {_INTEGER} True"),
            ({"limit": "9"}, f"budget {_INTEGER} '9'"),
            ({"limit": 2**31}, f"budget {_INTEGER} 2147483648"),
            ({"lease_s": 0}, "lease_s must be a finite number of seconds, more than 0, got 0"),
            ({"lease_s": math.nan}, "lease_s must be a finite number of seconds, more than 0, got nan"),
            ({"lease_s": math.inf}, "lease_s must be a finite number of seconds, more than 0, got inf"),
            ({"lease_s": "60"}, "lease_s must be a finite number of seconds, more than 0, got '60'"),
            ({"study": ""}, "study must be a text of 1 to 512 characters, got ''"),
            ({"study": None}, "study must be a text of 1 to 512 characters, got None"),
            ({"owner": ""}, "owner must be a text of 1 to 256 characters, got ''"),
            ({"owner": "o" * 257}, "owner must be a text of 1 to 256 characters, got 'o+'"),
        ],
    )
    def test_of_the_ledger(self, open_ledger, options, message):
        with pytest.raises(ArgumentError, match=f"^{message}$"):
            open_ledger(**({"limit": 1} | options))

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"epochs": 0}, f"epochs {_INTEGER} 0"),
            ({"epochs": 1.5}, rf"epochs {_INTEGER} 1\.5"),
            ({"epochs": None}, f"epochs {_INTEGER} None"),
            ({"gpus": 0}, f"gpus {_INTEGER} 0"),
            ({"gpus": False}, f"gpus {_INTEGER} False"),
            ({"trial": -1}, "trial must be an integer from 0 to 2147483647, got -1"),
            ({"trial": True}, "trial must be an integer from 0 to 2147483647, got True"),
            ({"trial": "3"}, "trial must be an integer from 0 to 2147483647, got '3'"),
            ({"key": ""}, "key must be a text of 1 to 64 characters, got ''"),
            ({"key": "k" * 65}, "key must be a text of 1 to 64 characters, got 'k+'"),
        ],
    )
    def test_of_a_hold(self, ledger, options, message):
        with pytest.raises(ArgumentError, match=f"^{message}$"):
            ledger.hold(**({"trial": 0, "epochs": 1} | options))
        assert ledger.open_holds() == []

    @pytest.mark.parametrize("epoch", [0, -1, 1.0, "1", True, 2**31])
    def test_of_a_charge(self, ledger, epoch):
        hold = ledger.hold(0, epochs=8)
        with pytest.raises(ArgumentError, match=f"^epoch {_INTEGER} {epoch!r}$"):
            hold.charge(epoch)
        assert ledger.account().spent == 0

    @pytest.mark.parametrize("value", [-1, math.nan, math.inf, "1", None, True])
    @pytest.mark.parametrize("name", ["training_s", "measuring_s"])
    def test_of_a_record(self, ledger, name, value):
        hold = ledger.hold(0, epochs=8)
        hold.charge()
        with pytest.raises(ArgumentError, match=f"^{name} {_NUMBER} {value!r}$"):
            hold.record(1, **({"training_s": 1, "measuring_s": 1} | {name: value}))
        assert ledger.seconds() == (0, 0)

    @pytest.mark.parametrize("call", ["renew", "charge", "record", "settle"])
    def test_of_an_unknown_key(self, ledger, call):
        arguments = {
            "renew": {},
            "charge": {"epoch": 1},
            "record": {"epoch": 1, "training_s": 0, "measuring_s": 0},
            "settle": {"reason": ""},
        }
        with pytest.raises(ArgumentError, match=r"^key must be that of a hold of this account, got 'no'$"):
            getattr(ledger, call)("no", **arguments[call])

    def test_what_is_too_long_for_a_column_is_cut_where_nothing_depends_on_it(self, ledger, raw):
        ledger.hold(0, epochs=1).settle("r" * 1000)
        assert raw("SELECT reason FROM hpo_gn_holds") == [("r" * 256,)]


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

    def test_a_study_that_is_in_no_database(self, url):
        study = optuna.create_study(study_name="in memory")
        rule = "a database URL, since this study's storage is no database"
        with pytest.raises(ArgumentError, match=f"^ledger must be {rule}, got 'InMemoryStorage'$"):
            Ledger.of_study(study, limit=10)
        ledger = Ledger.of_study(study, limit=10, url=url)
        study.add_trial(create_trial(value=0.0))
        assert ledger.hold(study.trials[0], epochs=1).trial == 0
        ledger.close()
