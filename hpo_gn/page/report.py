"""The report of a study in a database: read, its missing choices retrained if asked, and written."""

import shlex
from dataclasses import dataclass
from pathlib import Path

import optuna
from rich.console import Console

from hpo_gn.database_url import parse_database_url, shown
from hpo_gn.file_store import as_component
from hpo_gn.page.candidates import picks
from hpo_gn.page.counterfactual import missing_of
from hpo_gn.page.document import write_document
from hpo_gn.page.opening import costs_of, ledger_says, opened_study
from hpo_gn.page.retrain import Means, can_retrain, retrain
from hpo_gn.page.retrained import read_tested
from hpo_gn.page.study import StudyRead
from hpo_gn.page.study_page import sections_of


@dataclass(frozen=True)
class Report:
    """What was written.

    Args:
        page: the HTML file; its tables are beside it in Markdown and LaTeX.
        verdict: the sentence that it begins with.
    """

    page: Path
    verdict: str


def report_study(
    storage: str,
    study: str | None = None,
    *,
    folder: Path | None = None,
    means: Means | None = None,
    console: Console | None = None,
) -> Report:
    """Write the page of a study.

    Args:
        storage: URL of its database.
        study: its name; None for the only one there.
        folder: where to; with None beside the study's SQLite file, or `runs/<study>`.
        means: with what to retrain choices that were not retrained; None to leave them.
        console: where progress is shown; with None nothing is shown.

    Raises:
        HpoGnError: anything that the caller can mend, in one line.
    """
    with opened_study(storage, study) as found:
        if means is not None:
            _retrain_missing(storage, found, means, console or Console(quiet=True))
        return _write(storage, found, folder or _beside(storage, found.study_name))


def _retrain_missing(storage: str, study: optuna.Study, means: Means, console: Console) -> None:
    chosen = picks(StudyRead.of(study))
    tested, _ = read_tested(study, chosen.trials)
    if missing := missing_of(chosen, tested):
        console.print(f"retraining {len(missing)} of {len(chosen.picks)} choices: trials {missing}")
        retrain(storage, study, missing, means, console)


def _write(storage: str, study: optuna.Study, folder: Path) -> Report:
    status = ledger_says(storage, study)
    read = StudyRead.of(study, costs_of(status))
    chosen = picks(read)
    tested, initial = read_tested(study, chosen.trials)
    command = _command(storage, study.study_name) if can_retrain(study) else None
    verdict, sections = sections_of(read, study, chosen, tested, initial, status, command)
    page, _, _ = write_document(folder, "report", f"Study {read.name}", sections, verdict.sentence)
    return Report(page, verdict.sentence)


def _command(storage: str, study: str) -> str:
    """The command that retrains what is missing; a password in the URL is not shown."""
    place = shown(parse_database_url("storage", storage))
    return f"hpo-gn report {shlex.quote(study)} --storage {shlex.quote(place)} --retrain"


def _beside(storage: str, study: str) -> Path:
    url = parse_database_url("storage", storage)
    if url.get_backend_name() == "sqlite":
        return Path(str(url.database)).parent
    return Path("runs") / as_component(study)
