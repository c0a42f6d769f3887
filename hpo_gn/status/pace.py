"""The pace: how fast an account is spent, from the epochs of the last minutes."""

from dataclasses import dataclass

from sqlalchemy import Connection, case, func, select

from hpo_gn.budget.clock import database_clock
from hpo_gn.budget.schema import accounts, charges, holds


@dataclass(frozen=True)
class Pace:
    """What the workers of an account got done of late.

    Args:
        over_s: seconds since the first epoch that is counted began.
        epochs_per_s: epochs that began and ended in that time, a second.
        spent_per_s: GPU×epochs of those, measuring that was charged included, a second.
    """

    over_s: float
    epochs_per_s: float
    spent_per_s: float


def read_pace(connection: Connection, study: str, window_s: float) -> Pace | None:
    """The pace of a study's account over the last seconds; None if no epoch began and ended in them.

    Args:
        connection: of a transaction that only reads.
        study: the account's name.
        window_s: how far to look back.
    """
    # An epoch that is still running has spent its charge, and says nothing of how long it takes.
    ended = charges.c.training_s.is_not(None)
    amounts = charges.c.gpus + charges.c.measuring
    since = database_clock() - window_s
    query = (
        select(
            database_clock() - func.min(charges.c.charged_at),
            func.count(charges.c.training_s),
            func.sum(case((ended, amounts), else_=0.0)),
        )
        .select_from(charges.join(holds).join(accounts))
        # Holds that were settled before are not looked into: there may be very many.
        .where(accounts.c.study == study, func.coalesce(holds.c.settled_at, since + 1) > since)
        .where(charges.c.charged_at > since)
    )
    over_s, epochs, spent = connection.execute(query).one()
    if not epochs or over_s <= 0:
        return None
    return Pace(float(over_s), epochs / over_s, float(spent) / over_s)
