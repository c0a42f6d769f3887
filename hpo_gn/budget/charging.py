"""Charging epochs, and their measures, inside one transaction."""

from collections.abc import Mapping

from sqlalchemy import RowMapping, bindparam, insert, update

from hpo_gn.budget.account import LockedAccount, reserve
from hpo_gn.budget.amounts import rounded_up
from hpo_gn.budget.schema import charges
from hpo_gn.errors import ArgumentError, BudgetExhaustedError

_RECORD = update(charges).where(charges.c.hold == bindparam("key"), charges.c.epoch == bindparam("number"))


def charge_epoch(account: LockedAccount, key: str, epoch: int, lease_s: float) -> None:
    """Charge one epoch of a live hold, unless it is charged, and renew the lease.

    Raises:
        HoldClosedError: the hold is settled or its lease lapsed.
        BudgetExhaustedError: every epoch of the hold is charged.
        ArgumentError: no hold has that key.
    """
    hold = account.find_live(key, epoch)
    if hold["epoch"] is not None:
        account.renew(key, lease_s)
        return
    if hold["charged"] >= hold["epochs"]:
        raise BudgetExhaustedError(f"all {hold['epochs']} epochs held for trial {hold['trial']} are charged")
    row = {"hold": key, "epoch": epoch, "gpus": hold["gpus"], "charged_at": account.now}
    account.connection.execute(insert(charges), row)
    account.renew(key, lease_s, charged=hold["charged"] + 1)
    account.move(held=-hold["gpus"], spent=hold["gpus"])


def record_epoch(
    account: LockedAccount, key: str, epoch: int, took: Mapping[str, float], lease_s: float
) -> None:
    """Write down what a charged epoch took, unless that is done, charge its measuring, and renew the lease.

    Args:
        account: which pays.
        key: the hold's.
        epoch: which one.
        took: training_s and measuring_s.
        lease_s: how long the hold lives on.

    Raises:
        HoldClosedError: the hold is settled or its lease lapsed.
        ArgumentError: the epoch was not charged, or is recorded with other seconds; or measuring is charged,
            and there is no training to compare it with.
    """
    hold = account.find_live(key, epoch)
    if hold["epoch"] is None:
        raise ArgumentError("epoch", "one that was charged", epoch)
    if hold["training_s"] is not None:
        _check_same(hold, took)
        account.renew(key, lease_s)
        return
    cost = _cost(hold, took) if hold["measuring"] else 0.0
    paid = _pay(account, hold, cost) if cost else 0.0
    account.connection.execute(_RECORD, dict(took, key=key, number=epoch, measuring=paid))
    account.renew(key, lease_s, measured=hold["measured"] + paid)


def _check_same(hold: RowMapping, took: Mapping[str, float]) -> None:
    for name, seconds in took.items():
        if hold[name] != seconds:
            raise ArgumentError(name, f"the {hold[name]} s recorded for epoch {hold['epoch']}", seconds)


def _cost(hold: RowMapping, took: Mapping[str, float]) -> float:
    """GPU×epochs of an epoch's measuring, not yet rounded; infinite where the quotient is too large."""
    if took["training_s"] <= 0:
        raise ArgumentError("training_s", "more than 0 where measuring is charged", took["training_s"])
    return float(took["measuring_s"] * hold["gpus"] / took["training_s"])


def _pay(account: LockedAccount, hold: RowMapping, cost: float) -> float:
    """Charge measuring to the hold's reserve, then to what the account has left; how much was paid."""
    kept = reserve(hold)
    if cost > kept:
        account.reap()  # what the dead hold is left, too
    available = kept + account.balance.left
    paid = available if cost >= available else rounded_up(cost)
    account.move(held=-min(paid, kept), spent=paid, measuring=paid)
    return paid
