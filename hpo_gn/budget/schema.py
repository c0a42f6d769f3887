"""The ledger's tables."""

from sqlalchemy import (
    CheckConstraint,
    Column,
    Connection,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    func,
    insert,
    inspect,
    select,
    text,
)

from hpo_gn.errors import StorageError

VERSION = 2

_OPENING = 0x68706F676E  # any number that other users of the database are unlikely to lock; "hpogn" in ASCII

metadata = MetaData()

versions = Table(
    "hpo_gn_version", metadata, Column("version", Integer, primary_key=True, autoincrement=False)
)

accounts = Table(
    "hpo_gn_accounts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("study", String(512), nullable=False, unique=True),
    Column("epoch_limit", Integer, nullable=False),
    # Amounts are multiples of 1/1024, so that the sum below is exact.
    Column("held", Double, nullable=False, default=0),
    Column("spent", Double, nullable=False, default=0),
    Column("measuring", Double, nullable=False, default=0),
    CheckConstraint(
        "held >= 0 AND measuring >= 0 AND measuring <= spent AND held + spent <= epoch_limit",
        name="hpo_gn_within_limit",
    ),
)

holds = Table(
    "hpo_gn_holds",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("account", ForeignKey("hpo_gn_accounts.id"), nullable=False, index=True),
    Column("trial", Integer, nullable=False),
    Column("owner", String(256), nullable=False),
    Column("epochs", Integer, nullable=False),
    Column("gpus", Integer, nullable=False),
    Column("charged", Integer, nullable=False, default=0),
    Column("measuring", Double, nullable=False, default=0),
    Column("measured", Double, nullable=False, default=0),
    Column("held_at", Double, nullable=False),
    Column("seen_at", Double, nullable=False),
    Column("lease_until", Double, nullable=False),
    Column("settled_at", Double),
    Column("reason", String(256)),
    CheckConstraint("charged >= 0 AND charged <= epochs", name="hpo_gn_charged_within_hold"),
    CheckConstraint("measuring >= 0 AND measured >= 0", name="hpo_gn_measured_is_positive"),
    # One worker a trial: a second open hold on it cannot be written.
    Index(
        "hpo_gn_one_open_hold",
        "account",
        "trial",
        unique=True,
        sqlite_where=text("settled_at IS NULL"),
        postgresql_where=text("settled_at IS NULL"),
    ),
)

charges = Table(
    "hpo_gn_charges",
    metadata,
    Column("hold", ForeignKey("hpo_gn_holds.key"), primary_key=True),
    Column("epoch", Integer, primary_key=True, autoincrement=False),
    Column("gpus", Integer, nullable=False),
    Column("charged_at", Double, nullable=False),
    Column("training_s", Double),
    Column("measuring_s", Double),
    Column("measuring", Double, nullable=False, default=0),
)


def create(connection: Connection) -> None:
    """Make the tables where they are missing. Until the transaction ends nobody else opens a ledger here.

    Raises:
        StorageError: the database holds a ledger of another version.
    """
    if connection.dialect.name == "postgresql":
        # IF NOT EXISTS and unique accounts do not keep two first openers from failing each other.
        connection.execute(select(func.pg_advisory_xact_lock(_OPENING)))
    if not exists(connection):
        metadata.create_all(connection)
        connection.execute(insert(versions).values(version=VERSION))


def exists(connection: Connection) -> bool:
    """Whether the database holds a ledger.

    Raises:
        StorageError: it holds one of another version.
    """
    if not inspect(connection).has_table(versions.name):
        return False
    found = connection.execute(select(versions.c.version)).scalar_one()
    if found != VERSION:
        raise StorageError(f"the ledger has schema version {found}; this hpo_gn reads version {VERSION}")
    return True
