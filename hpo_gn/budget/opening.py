"""Opening an account, inside one transaction."""

from sqlalchemy import Connection, insert, select

from hpo_gn.budget.account import LockedAccount
from hpo_gn.budget.schema import accounts, create, exists


def find_account(connection: Connection, study: str) -> int | None:
    """The id of a study's account, if there is one; nothing is written.

    Raises:
        StorageError: the database holds a ledger of another version.
    """
    return _find(connection, study) if exists(connection) else None


def open_account(connection: Connection, study: str, limit: int) -> int:
    """The id of a study's account, made where it is missing and given this limit where it has another.

    Raises:
        StorageError: the database holds a ledger of another version.
        ArgumentError: the limit is less than what is held and spent.
    """
    create(connection)
    found = _find(connection, study)
    if found is None:
        made = connection.execute(insert(accounts).values(study=study, epoch_limit=limit))
        return int(made.inserted_primary_key[0])  # type: ignore[index]
    account = LockedAccount(connection, found)
    if limit != account.balance.limit:
        account.change_limit(limit)
    return found


def _find(connection: Connection, study: str) -> int | None:
    which = select(accounts.c.id).where(accounts.c.study == study)
    found: int | None = connection.execute(which).scalar_one_or_none()
    return found
