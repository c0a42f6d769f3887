"""What measuring costs where it is charged, and who pays."""

import pytest

from hpo_gn.budget import Account
from hpo_gn.errors import ArgumentError, BudgetExhaustedError, HoldClosedError


def test_a_share_for_measuring_is_set_aside_and_given_back(ledger):
    with ledger.hold(0, epochs=8, gpus=2, measuring=0.5) as hold:
        assert ledger.account() == Account(limit=100, held=24, spent=0)
        hold.charge()
        assert ledger.account() == Account(limit=100, held=22, spent=2)
    assert ledger.account() == Account(limit=100, held=0, spent=2)


def test_measuring_is_charged_in_proportion_to_training(ledger):
    with ledger.hold(0, epochs=8, gpus=2, measuring=0.5) as hold:
        hold.charge()
        hold.record(1, training_s=4, measuring_s=1)
        assert ledger.account() == Account(limit=100, held=21.5, spent=2.5, measuring=0.5)
        hold.charge()
        hold.record(2, training_s=4, measuring_s=0)
        assert ledger.account() == Account(limit=100, held=19.5, spent=4.5, measuring=0.5)
    assert ledger.account() == Account(limit=100, held=0, spent=4.5, measuring=0.5)


def test_without_a_share_measuring_is_free(ledger):
    with ledger.hold(0, epochs=8) as hold:
        hold.charge()
        hold.record(1, training_s=0, measuring_s=100)
        assert ledger.account() == Account(limit=100, held=7, spent=1, measuring=0)
    assert ledger.seconds() == (0, 100)


@pytest.mark.parametrize(
    ("measuring_s", "paid"),
    [
        (0.1, 26 / 1024),  # 0.025 of an epoch, rounded up
        (6, 1.5),  # all of the reserve
        (8, 2),  # and half an epoch of what the account has left
        (12, 3),  # and all of it
        (12.001, 3),
        (1e308, 3),
    ],
)
def test_the_reserve_pays_first_then_the_account_then_nobody(open_ledger, measuring_s, paid):
    ledger = open_ledger("small", limit=9)
    other, hold = ledger.hold(0, epochs=3), ledger.hold(1, epochs=3, measuring=0.5)
    assert ledger.account().left == 1.5
    hold.charge()
    for _ in range(3):
        hold.record(1, training_s=4, measuring_s=measuring_s)
        reserve = max(0, 1.5 - paid)
        assert ledger.account() == Account(limit=9, held=5 + reserve, spent=1 + paid, measuring=paid)
    for each in (other, hold, hold):
        each.charge()  # what is held stays safe
    assert ledger.statement().trials[1].spent == 3 + paid


def test_what_the_dead_held_pays_too(open_ledger, clock):
    ledger = open_ledger("small", limit=9, lease_s=10)
    ledger.hold(0, epochs=6)
    clock.now += 6
    hold = ledger.hold(1, epochs=2, measuring=0.5)
    hold.charge()
    clock.now += 6
    hold.record(1, training_s=1, measuring_s=5)
    assert ledger.account() == Account(limit=9, held=1, spent=6, measuring=5)


def test_the_reserve_is_rounded_up(ledger):
    ledger.hold(0, epochs=10, gpus=3, measuring=0.1)
    assert ledger.account().held == 30 * (1 + 103 / 1024)


def test_a_hold_needs_its_reserve_too(ledger):
    with pytest.raises(
        BudgetExhaustedError, match=r"trial 0 needs 100\.5 GPU×epochs, and the account has 100 left"
    ):
        ledger.hold(0, epochs=67, measuring=0.5)
    ledger.hold(0, epochs=66, measuring=0.5)


def test_another_share_is_another_hold(ledger):
    ledger.hold(0, epochs=8, key="mine", measuring=0.1)
    ledger.hold(0, epochs=8, key="mine", measuring=103 / 1024)
    with pytest.raises(HoldClosedError, match="was made with other arguments"):
        ledger.hold(0, epochs=8, key="mine")


def test_without_training_there_is_nothing_to_compare_with(ledger):
    hold = ledger.hold(0, epochs=8, measuring=0.5)
    hold.charge()
    rule = r"^training_s must be more than 0 where measuring is charged, got 0\.0$"
    with pytest.raises(ArgumentError, match=rule):
        hold.record(1, training_s=0, measuring_s=1)
    assert ledger.seconds() == (0, 0)


@pytest.mark.parametrize("measuring", [0, 0.5])
@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"training_s": 5}, r"training_s must be the 4\.0 s recorded for epoch 1, got 5\.0"),
        ({"measuring_s": 0}, r"measuring_s must be the 1\.0 s recorded for epoch 1, got 0\.0"),
    ],
)
def test_other_seconds_of_an_epoch_are_refused(ledger, measuring, other, message):
    hold = ledger.hold(0, epochs=8, measuring=measuring)
    hold.charge()
    hold.record(1, training_s=4, measuring_s=1)
    before = ledger.account()
    with pytest.raises(ArgumentError, match=f"^{message}$"):
        hold.record(1, **({"training_s": 4, "measuring_s": 1} | other))
    assert ledger.account() == before
    assert ledger.seconds() == (4, 1)
