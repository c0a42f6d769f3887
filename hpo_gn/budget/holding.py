"""Setting epochs aside, inside one transaction."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import func, insert, select

from hpo_gn.budget.account import LockedAccount
from hpo_gn.budget.amounts import plain
from hpo_gn.budget.schema import charges, holds
from hpo_gn.errors import AlreadyHeldError, BudgetExhaustedError, HoldClosedError


def set_aside(account: LockedAccount, key: str, wanted: Mapping[str, Any], lease_s: float) -> int:
    """Make a hold, or find it; the last epoch charged to it.

    Args:
        account: which pays.
        key: the hold's.
        wanted: its trial, epochs, gpus, measuring and owner.
        lease_s: how long it lives unless it is renewed.

    Raises:
        AlreadyHeldError: the trial has another open hold.
        BudgetExhaustedError: the account has not that much left.
        HoldClosedError: the key is that of a settled hold, or of a hold with other arguments.
    """
    account.reap()
    found = account.connection.execute(select(holds).where(holds.c.key == key)).mappings().first()
    if found is None:
        _make(account, key, wanted, lease_s)
        return 0
    same = dict(wanted, account=account.id)
    if found["settled_at"] is not None or any(found[name] != value for name, value in same.items()):
        raise HoldClosedError(f"hold {key} is settled or was made with other arguments")
    last = select(func.coalesce(func.max(charges.c.epoch), 0)).where(charges.c.hold == key)
    return int(account.connection.execute(last).scalar_one())


def _make(account: LockedAccount, key: str, wanted: Mapping[str, Any], lease_s: float) -> None:
    trial, left = wanted["trial"], account.balance.left
    which = account.open & (holds.c.trial == trial)
    other = account.connection.execute(select(holds.c.owner).where(which)).scalar_one_or_none()
    if other is not None:
        raise AlreadyHeldError(f"trial {trial} is held by {other}")
    cost = plain(wanted["epochs"] * wanted["gpus"] * (1 + wanted["measuring"]))
    if cost > left:
        raise BudgetExhaustedError(f"trial {trial} needs {cost} GPU×epochs, and the account has {left} left")
    times = {"held_at": account.now, "seen_at": account.now, "lease_until": account.now + lease_s}
    account.connection.execute(insert(holds), dict(wanted, key=key, account=account.id, **times))
    account.move(held=cost)
