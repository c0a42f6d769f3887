"""The report of real searches, in their databases."""

import re
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState, create_trial
from rich.console import Console
from typer import Typer
from typer.testing import CliRunner

from hpo_gn.cli import OneLineGroup
from hpo_gn.commands.report import report
from hpo_gn.database_url import sqlite_url
from hpo_gn.errors import StorageError, StudyError, UnknownNameError
from hpo_gn.page.report import _command, report_study
from hpo_gn.page.retrain import Means
from hpo_gn.retraining import ROLE, retraining_name
from tests.page.studies import STUDY

MEANS = Means(workers=1, device="cpu")


def command(*arguments):
    app = Typer(cls=OneLineGroup)
    app.command()(report)
    app.callback()(lambda: None)
    return CliRunner().invoke(app, ["report", *arguments])


@pytest.mark.slow
def test_a_report_is_written_beside_the_study_and_again_the_same(copied, tmp_path):
    first = report_study(copied)
    assert first.page == tmp_path / "report.html"
    files = {file: file.read_bytes() for file in tmp_path.glob("report.*")}
    assert len(files) == 3
    assert first.verdict.startswith("Unknown: agn-val(alpha=1000000.0) chose trial ")
    assert report_study(copied) == first
    assert {file: file.read_bytes() for file in tmp_path.glob("report.*")} == files


@pytest.mark.slow
def test_the_page_says_what_the_ledger_says(copied, tmp_path):
    report_study(copied)
    text = (tmp_path / "report.md").read_text()
    for said in (
        "| search | 24 |",
        "mlp on digits, searched by random",
        "The pruner give-up gave up",
        "initial settings",
        "s of training",
        r"| agn | ",
        "| batch\\_size | 32 to 1000, integer, logarithmic | 100 |",
    ):
        assert said in text
    assert re.search(r"hpo-gn report 'a search' --storage sqlite:////\S+study\.db --retrain", text)


@pytest.mark.slow
def test_choices_that_are_missing_are_retrained_once(copied, tmp_path):
    before = set(optuna.get_all_study_names(copied))
    found = report_study(copied, means=MEANS)
    assert not found.verdict.startswith("Unknown")
    assert "not retrained" not in (tmp_path / "report.md").read_text()
    added = set(optuna.get_all_study_names(copied)) - before
    assert added
    assert all(name.startswith(retraining_name(STUDY, 0)[:-1]) for name in added)
    trained = [optuna.load_study(study_name=name, storage=copied).trials for name in added]
    assert all([trial.user_attrs[ROLE] for trial in trials] == ["winner"] * 2 for trials in trained)
    console = Console(record=True, width=200)
    assert report_study(copied, means=MEANS, console=console) == found
    assert console.export_text() == ""
    assert [optuna.load_study(study_name=name, storage=copied).trials for name in added] == trained


@pytest.mark.slow
def test_the_command_prints_the_verdict_and_the_page(copied, tmp_path):
    ran = command("--storage", copied, "--output", str(tmp_path / "out"))
    assert ran.exit_code == 0, ran.output
    verdict, page = ran.output.splitlines()
    assert verdict.startswith("Unknown: ")
    assert page == str(tmp_path / "out" / "report.html")
    assert (tmp_path / "out" / "report.tex").exists()


@pytest.mark.slow
def test_a_search_that_is_not_over_is_shown_and_not_retrained(copied):
    study = optuna.load_study(study_name=STUDY, storage=copied)
    about = study.user_attrs["hpo_gn:protocol"]
    study.set_user_attr("hpo_gn:protocol", about | {"done": False})
    study.add_trial(create_trial(state=TrialState.RUNNING))
    assert report_study(copied).verdict
    with pytest.raises(StudyError, match="is not over: end its search before retraining"):
        report_study(copied, means=MEANS)


def plain_study(folder: Path, trials: int = 1, name: str = "theirs") -> str:
    url = sqlite_url(folder / "theirs.db")
    study = optuna.create_study(study_name=name, storage=url)
    study.add_trials([create_trial(value=1.0) for _ in range(trials)])
    return url


def with_history(folder: Path) -> str:
    url = plain_study(folder)
    row = {"hpo_gn:epoch:1": {"val_loss": 1.0, "agn": 2.0}}
    optuna.load_study(study_name="theirs", storage=url).add_trial(create_trial(value=0.5, user_attrs=row))
    return url


def test_a_strangers_study_with_history_has_a_page_without_ledger(tmp_path):
    found = report_study(with_history(tmp_path))
    assert found.verdict.startswith("No difference: ")
    text = (tmp_path / "report.md").read_text()
    assert "No ledger came with this study." in text
    assert "--retrain" not in text


def test_a_strangers_study_cannot_be_retrained(tmp_path):
    with pytest.raises(StudyError, match="was not made by a search, so nothing can be retrained"):
        report_study(with_history(tmp_path), means=MEANS)


def test_what_cannot_be_shown_is_one_line_and_code_2(tmp_path):
    ran = command("--storage", plain_study(tmp_path))
    assert ran.exit_code == 2
    assert ran.output == "hpo-gn: study 'theirs' has no History: hpo_gn trained none of its trials\n"


@pytest.mark.parametrize(
    ("study", "error", "message"),
    [
        ("thiers", UnknownNameError, "did you mean 'theirs'"),
        (None, StudyError, "holds several studies; name one: other, theirs"),
    ],
)
def test_a_study_is_named_where_there_are_several(tmp_path, study, error, message):
    plain_study(tmp_path)
    plain_study(tmp_path, name="other")
    with pytest.raises(error, match=message):
        report_study(sqlite_url(tmp_path / "theirs.db"), study)


def test_a_database_that_is_not_there_is_not_made(tmp_path):
    with pytest.raises(StorageError, match="there is no database"):
        report_study(sqlite_url(tmp_path / "none.db"))
    assert list(tmp_path.iterdir()) == []


def test_settings_of_retraining_need_retrain(tmp_path):
    ran = command("--storage", plain_study(tmp_path), "--workers", "2")
    assert ran.exit_code == 2
    assert ran.output == "hpo-gn: workers must be left out, unless --retrain is given, got 2\n"


def test_a_password_is_not_on_the_page():
    shown = _command("postgresql://me:secret@host/db?password=secret", STUDY)
    assert shown.startswith("hpo-gn report 'a search' --storage 'postgresql+psycopg://me:***@host/db'")
    assert "secret" not in shown
