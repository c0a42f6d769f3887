"""Connections that are kept: across calls, not across a fork, a move or a replaced file; and the journal."""

import multiprocessing
import os
import shutil
import sqlite3

import optuna
import pytest
from sqlalchemy import event, text

from hpo_gn.budget import Account, Ledger
from hpo_gn.budget.database import Database
from hpo_gn.budget.engine import make_engine
from hpo_gn.errors import StorageError
from hpo_gn.storage import open_storage


def connections(ledger):
    """Grows with every connection that the ledger opens."""
    opened = []
    event.listen(ledger.database.engine, "connect", lambda *_: opened.append(1))
    return opened


def test_a_connection_is_used_again(ledger):
    opened = connections(ledger)
    for trial in range(5):
        ledger.hold(trial, epochs=1)
    assert len(opened) == 0


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_child_opens_its_own_and_leaves_its_parents_alone(ledger):
    hold = ledger.hold(0, epochs=9)
    engine = ledger.database.engine

    def charge(pipe):
        hold.charge(1)
        pipe.send(ledger.database.engine is engine)
        ledger.close()

    ours, theirs = multiprocessing.get_context("fork").Pipe()
    child = multiprocessing.get_context("fork").Process(target=charge, args=(theirs,))
    child.start()
    child.join()
    assert ours.recv() is False
    assert child.exitcode == 0
    opened = connections(ledger)
    hold.charge(2)
    assert ledger.account() == Account(limit=100, held=7, spent=2)
    assert opened == []
    assert ledger.database.engine is engine


class TestSQLiteFiles:
    @pytest.fixture
    def url(self, tmp_path):
        return f"sqlite:///{tmp_path}/study.db"

    def test_a_relative_path_is_the_same_file_wherever_the_process_goes(self, tmp_path, monkeypatch):
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path)
        ledger = Ledger("sqlite:///study.db", "study", limit=10)
        monkeypatch.chdir(tmp_path / "elsewhere")
        ledger.close()
        ledger.hold(0, epochs=5)
        ledger.close()
        assert list((tmp_path / "elsewhere").iterdir()) == []
        assert str(ledger.database) == "sqlite:///study.db"

    def test_a_file_that_was_replaced_is_opened_again(self, ledger, tmp_path):
        shutil.copy(tmp_path / "study.db", tmp_path / "backup.db")
        ledger.hold(0, epochs=60)
        os.replace(tmp_path / "backup.db", tmp_path / "study.db")
        assert ledger.account().held == 0

    def test_a_file_that_was_removed_is_not_written_to_in_secret(self, ledger, tmp_path):
        (tmp_path / "study.db").unlink()
        with pytest.raises(StorageError, match="no such table"):
            ledger.hold(0, epochs=60)

    def test_commits_are_synced_and_the_journal_is_kept(self, ledger):
        with ledger.database.engine.connect() as connection:
            answers = {
                name: connection.execute(text(f"PRAGMA {name}")).scalar_one()
                for name in ("synchronous", "journal_mode")
            }
        assert answers == {"synchronous": 2, "journal_mode": "persist"}

    def test_a_file_with_a_write_ahead_log_keeps_it_and_serves_the_study_too(self, url, tmp_path):
        storage = open_storage(url)
        study = optuna.create_study(storage=storage)
        with sqlite3.connect(tmp_path / "study.db") as connection:
            connection.execute("PRAGMA journal_mode=WAL")
        connection.close()
        ledger = Ledger.of_study(study, limit=10)
        trial = study.ask()
        with ledger.hold(trial, epochs=5) as hold:
            hold.charge()
            study.tell(trial, 1.0)
        assert ledger.statement().account == Account(limit=10, held=0, spent=1)
        assert study.best_value == 1
        with ledger.database.engine.connect() as connection:
            assert connection.execute(text("PRAGMA journal_mode")).scalar_one() == "wal"
        ledger.close()
        storage.engine.dispose()


def test_a_statement_sees_what_was_committed_while_it_waited(postgresql_url):
    """However the server is set: at a stricter level it would fail, or see the account as it was."""
    engine = make_engine(Database(postgresql_url).url)
    with engine.connect() as connection:
        level = connection.execute(text("SHOW transaction_isolation")).scalar_one()
        timeout = connection.execute(text("SHOW idle_in_transaction_session_timeout")).scalar_one()
    engine.dispose()
    assert (level, timeout) == ("read committed", "5s")
