"""The ledger's tables."""

from sqlalchemy import (
    CheckConstraint,
    Column,
    Connection,
    Float,
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

VERSION = 1

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
    Column("held", Integer, nullable=False, default=0),
    Column("spent", Integer, nullable=False, default=0),
    CheckConstraint("held >= 0 AND spent >= 0 AND held + spent <= epoch_limit", name="hpo_gn_within_limit"),
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
    Column("held_at", Float, nullable=False),
    Column("lease_until", Float, nullable=False),
    Column("settled_at", Float),
    Column("reason", String(256)),
    CheckConstraint("charged >= 0 AND charged <= epochs", name="hpo_gn_charged_within_hold"),
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
    Column("charged_at", Float, nullable=False),
    Column("training_s", Float),
    Column("measuring_s", Float),
)


def create(connection: Connection) -> None:
    """Make the tables where they are missing. Until the transaction ends nobody else opens a ledger here.

    Raises:
        StorageError: the database holds a ledger of another version.
    """
    if connection.dialect.name == "postgresql":
        # IF NOT EXISTS and unique accounts do not keep two first openers from failing each other.
        connection.execute(select(func.pg_advisory_xact_lock(_OPENING)))
    if inspect(connection).has_table(versions.name):
        found = connection.execute(select(versions.c.version)).scalar_one()
        if found != VERSION:
            raise StorageError(f"the ledger has schema version {found}; this hpo_gn reads version {VERSION}")
        return
    metadata.create_all(connection)
    connection.execute(insert(versions).values(version=VERSION))
