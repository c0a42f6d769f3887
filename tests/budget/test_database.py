"""What a user sees of a database that cannot be used, and what a fork leaves whole."""

import multiprocessing
import os
import sqlite3
import threading
import time
from pathlib import Path

import optuna
import pytest
from sqlalchemy.engine import URL

from hpo_gn.budget import Account, Ledger
from hpo_gn.budget.database import Database
from hpo_gn.errors import ArgumentError, HpoGnError, StorageError
from hpo_gn.storage import open_storage

RULE = "must be a URL of a SQLite file or a PostgreSQL database, such as sqlite:///study.db, got"

BAD_URLS = pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("study.db", "'study.db'"),
        ("", "''"),
        (None, "'None'"),
        ("sqlite://", "'sqlite:///'"),
        ("sqlite:///:memory:", "'sqlite:///:memory:'"),
        ("sqlite:///file::memory:?uri=true", "'sqlite:///file::memory:'"),
        ("mysql://me:secret@host/study", "'mysql://me:***@host/study'"),
        ("mysql://host/study?user=me&password=secret", "'mysql://host/study?user=me'"),
        ("postgresql+nosuch://me:secret@host/study", "'***'"),
        ("postgresql://me:secret@host:port/study", "'***'"),
        ("not a url?password=secret", "'***'"),
        ("redis://:secret@host", "'***'"),
    ],
)

UNUSABLE = pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite:///{folder}/missing/study.db", "sqlite:///{folder}/missing/study.db: "),
        ("sqlite:///{folder}", "sqlite:///{folder}: unable to open database file"),
        ("sqlite:///{folder}/text.db", "sqlite:///{folder}/text.db: file is not a database"),
        (
            "postgresql://me:secret@127.0.0.1:1/study?sslpassword=secret",
            "postgresql+psycopg://me:***@127.0.0.1:1/study: connection failed: ",
        ),
        (
            "postgresql://127.0.0.1:1/study?user=me&password=secret",
            "postgresql+psycopg://127.0.0.1:1/study?user=me: connection failed: ",
        ),
        (
            "postgresql+psycopg2://me:secret@127.0.0.1:1/study",
            "postgresql+psycopg2://me:***@127.0.0.1:1/study: No module named 'psycopg2'",
        ),
    ],
)


@BAD_URLS
def test_what_is_no_url_of_ours(url, shown):
    for name, use in (("ledger", Database), ("storage", open_storage)):
        with pytest.raises(ArgumentError) as caught:
            use(url)
        assert str(caught.value) == f"{name} {RULE} {shown}"


@UNUSABLE
def test_what_cannot_be_opened_is_told_in_one_line_without_its_password(tmp_path, monkeypatch, url, message):
    monkeypatch.setattr("hpo_gn.budget.patience.OPENING_PATIENCE_S", 0.2)
    (tmp_path / "text.db").write_text("no database, but a text that is long enough to be one" * 100)
    url, message = url.format(folder=tmp_path), message.format(folder=tmp_path)
    with pytest.raises(StorageError) as caught:
        Ledger(url, "study", limit=1)
    assert str(caught.value).startswith(f"cannot use the ledger at {message}")
    with pytest.raises(StorageError) as of_storage:
        open_storage(url)
    for error in (caught.value, of_storage.value):
        assert "\n" not in str(error)
        assert "secret" not in f"{error}{error!r}"
        assert error.__cause__ is None
        assert error.__suppress_context__


@pytest.mark.parametrize("name", ["a b", "öffentlich", "100%", "a%20b", "who's", "c#"])
def test_any_file_name_is_one_database_for_the_ledger_and_the_study(tmp_path, name):
    url = URL.create("sqlite", database=f"{tmp_path}/{name}.db").render_as_string()
    storage = open_storage(url)
    study = optuna.create_study(storage=storage)
    for ledger in (Ledger(url, "study", limit=1), Ledger.of_study(study, limit=1)):
        ledger.close()
        assert str(ledger.database) == f"sqlite:///{tmp_path}/{name}.db"
    assert {path.name.partition(".db")[0] for path in tmp_path.iterdir()} == {name}
    storage.engine.dispose()


def test_a_plain_postgresql_url_means_psycopg_3(postgresql_url):
    assert postgresql_url.startswith("postgresql://")
    assert Database(postgresql_url).engine.dialect.driver == "psycopg"
    storage = open_storage(postgresql_url)
    assert storage.engine.dialect.driver == "psycopg"
    storage.engine.dispose()


def test_a_password_is_kept_for_the_connection_and_hidden_from_the_reader():
    database = Database("postgresql://me:s%40cret@127.0.0.1:1/study?password=too&connect_timeout=3")
    assert str(database) == "postgresql+psycopg://me:***@127.0.0.1:1/study?connect_timeout=3"
    assert database.url.password == "s@cret"
    assert database.url.query["password"] == "too"


def test_a_transaction_is_rolled_back_as_a_whole(open_ledger, monkeypatch):
    ledger = open_ledger(limit=10)
    hold = ledger.hold(0, epochs=5)
    monkeypatch.setattr("hpo_gn.budget.account.LockedAccount.move", _fail)
    with pytest.raises(ZeroDivisionError):
        hold.charge()
    monkeypatch.undo()
    assert ledger.account() == Account(limit=10, held=5, spent=0)
    hold.charge()
    assert ledger.account().spent == 1


def _fail(*_arguments, **_changes):
    raise ZeroDivisionError


def test_writers_of_a_sqlite_file_wait_for_each_other_and_for_other_programs(tmp_path):
    ledger = Ledger(f"sqlite:///{tmp_path}/study.db", "study", limit=1000)
    intruder = sqlite3.connect(tmp_path / "study.db", isolation_level=None, check_same_thread=False)
    intruder.execute("BEGIN IMMEDIATE")
    threading.Timer(0.5, intruder.execute, args=("COMMIT",)).start()
    began = time.monotonic()
    ledger.hold(0, epochs=1)
    assert time.monotonic() - began > 0.3
    intruder.close()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_and_its_parent_both_go_on(open_ledger):
    ledger = open_ledger(limit=10)
    hold = ledger.hold(0, epochs=5)
    child = multiprocessing.get_context("fork").Process(target=lambda: hold.charge(1))
    child.start()
    child.join()
    hold.charge(2)
    assert child.exitcode == 0
    assert ledger.account().spent == 2


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_child_forked_in_mid_transaction_does_not_keep_the_lock(tmp_path):
    """A data loader forks its workers while the lease's thread may be writing."""
    ledger = Ledger(f"sqlite:///{tmp_path}/study.db", "study", limit=10)
    inside, forked = threading.Event(), threading.Event()

    def heartbeat(_connection):
        inside.set()
        forked.wait(10)

    thread = threading.Thread(target=ledger.database.write, args=(heartbeat,))
    thread.start()
    inside.wait(10)
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    child.start()
    forked.set()
    thread.join()
    waiting = threading.Thread(target=ledger.account, daemon=True)
    waiting.start()
    waiting.join(10)
    stuck = waiting.is_alive()
    child.kill()
    child.join()
    assert not stuck


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_read_only_file(tmp_path):
    Ledger(f"sqlite:///{tmp_path}/study.db", "study", limit=10)
    (tmp_path / "study.db").chmod(0o444)
    with pytest.raises(StorageError, match="attempt to write a readonly database"):
        Ledger(f"sqlite:///{tmp_path}/study.db", "study", limit=20)


def test_a_file_that_is_damaged_later(tmp_path):
    ledger = Ledger(f"sqlite:///{tmp_path}/study.db", "study", limit=10)
    file = Path(tmp_path / "study.db")
    file.write_bytes(b"x" * file.stat().st_size)
    with pytest.raises(HpoGnError, match=r"^cannot use the ledger at .*: file is not a database$"):
        ledger.hold(0, epochs=1)


def test_the_heartbeat_outlives_a_database_that_is_away_for_a_while(tmp_path):
    ledger = Ledger(f"sqlite:///{tmp_path}/study.db", "study", limit=10, lease_s=1.5)
    with ledger.hold(0, epochs=5) as hold:
        file = tmp_path / "study.db"
        contents = file.read_bytes()
        file.write_bytes(b"x" * len(contents))
        time.sleep(0.7)
        file.write_bytes(contents)
        time.sleep(1.2)
        hold.charge()
    assert ledger.account().spent == 1
