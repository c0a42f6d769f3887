"""A recorded table made from a study: its runs, and the tests of those that were retrained."""

import json
import platform
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.distributions import distribution_to_json
from optuna.trial import FrozenTrial, TrialState

from hpo_gn.budget import Ledger
from hpo_gn.budget.statement import TrialEntry
from hpo_gn.errors import DataError, StorageError
from hpo_gn.failures import DIVERGED
from hpo_gn.hardware import processor
from hpo_gn.history import History
from hpo_gn.joining import find_study
from hpo_gn.recorded.table import FORMAT, RecordedRun, RecordedTable, read_table, write_table
from hpo_gn.retraining import collect, retraining_name
from hpo_gn.studies import EXPERIMENT
from hpo_gn.trial import REASON
from hpo_gn.worker import FINGERPRINT


def record(
    storage: str, study: str | None, file: str | Path, *, command: str, tests: str | Path | None = None
) -> RecordedTable:
    """Write a search's runs to a file.

    A run that diverged is kept; one that ended for a reason of the search's own, that was trained for fewer
    epochs than the longest, or that has not ended yet, is not. Where the search has retrained its winner, the
    tests of the winner and of the initial settings are written beside their runs.

    Args:
        storage: URL of its database.
        study: its name; None for the only one there.
        file: `.jsonl.gz`, which is replaced.
        command: that made the runs, for the header.
        tests: a file of more tests, a line of JSON a run: `{"number": …, "test_accuracy": […], "test_loss":
            […], "failed": …}`, a value a retraining on the full training set. They replace the search's own.

    Raises:
        StorageError: there is no search at the URL.
        UnknownNameError, StudyError: none has the name, or there are several and none is named.
        DataError: no run of the study has ended, or the file of tests is damaged or of other runs.
    """
    opened = find_study(storage, study)
    trials = opened.get_trials(deepcopy=False)
    epochs = int(opened.user_attrs[EXPERIMENT]["epochs"])
    seconds = _seconds(storage, opened.study_name)
    runs = [_run(trial, seconds.get(trial.number)) for trial in trials if _is_run(trial, epochs)]
    if not runs:
        raise DataError(f"no run of study {opened.study_name!r} has ended")
    found = _retrained(opened, runs)
    given = {} if tests is None else read_tests(tests, {run.number for run in runs})
    tested = tuple(replace(run, **(found | given).get(run.number, {})) for run in runs)
    header = _header(opened, command) | {"runs": len(runs), "other_trials": len(trials) - len(runs)}
    write_table(RecordedTable(header, tested), file)
    return read_table(file)


def read_tests(path: str | Path, numbers: set[int]) -> dict[int, dict[str, Any]]:
    """The tests in a file, as what they change of a `RecordedRun`, by its number.

    Args:
        path: of the file.
        numbers: of the runs that there are.

    Raises:
        DataError: the file is missing or damaged, or tests a run that is not there, or one twice.
    """
    path = Path(path)
    found: dict[int, dict[str, Any]] = {}
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            number, tests = _tests(json.loads(line))
            if number not in numbers or number in found:
                raise ValueError(f"run {number} is {'there twice' if number in found else 'not recorded'}")
            found[number] = tests
    except FileNotFoundError:
        raise DataError(f"there is no file of tests {path}") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path.name} holds no tests of these runs: {error}") from None
    return found


def _tests(line: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    listed = {name: tuple(map(float, line[name])) for name in ("test_accuracy", "test_loss")}
    if len(set(map(len, listed.values()))) > 1 or not all(0 <= each <= 1 for each in listed["test_accuracy"]):
        raise ValueError(f"run {line['number']} must have as many losses as accuracies from 0 to 1")
    return int(line["number"]), listed | {"failed_retrainings": int(line.get("failed", 0))}


def _retrained(study: optuna.Study, runs: list[RecordedRun]) -> dict[int, dict[str, Any]]:
    """What the search's own retrainings gave, by the run's number."""
    storage = study._storage
    names = {each.study_name for each in storage.get_all_studies()}
    initial = study.user_attrs[EXPERIMENT].get("initial")
    found: dict[int, dict[str, Any]] = {}
    for run in runs:
        name = retraining_name(study.study_name, run.number)
        if name not in names:
            continue
        retraining = optuna.load_study(study_name=name, storage=storage)
        for each in (each for each in runs if each.params == initial):
            if tests := _tests_of(retraining, "initial", each):
                found.setdefault(each.number, tests)
        found[run.number] = _tests_of(retraining, "winner", run)
    return found


def _tests_of(retraining: optuna.Study, role: str, run: RecordedRun) -> dict[str, Any]:
    """Nothing where the role was not retrained."""
    retrained = collect(retraining, role, run.params)
    if not retrained.test_accuracy and not retrained.failures:
        return {}
    return {
        "test_accuracy": retrained.test_accuracy,
        "test_loss": retrained.test_loss,
        "failed_retrainings": len(retrained.failures),
    }


def _is_run(trial: FrozenTrial, epochs: int) -> bool:
    if trial.state == TrialState.COMPLETE:
        return len(History.of(trial)) == epochs
    return _divergence(trial) is not None


def _divergence(trial: FrozenTrial) -> int | None:
    """The epoch in which it diverged."""
    if trial.state != TrialState.FAIL or DIVERGED in trial.user_attrs:
        return trial.user_attrs.get(DIVERGED)
    found = re.match(r"diverged at epoch (\d+)", trial.user_attrs.get(REASON, ""))
    return int(found.group(1)) if found else None


def _seconds(storage: str, study: str) -> dict[int, TrialEntry]:
    try:
        ledger = Ledger.open_existing(storage, study)
    except StorageError:  # its budget may be kept elsewhere
        return {}
    try:
        return {entry.trial: entry for entry in ledger.statement().trials}
    finally:
        ledger.close()


def _run(trial: FrozenTrial, seconds: TrialEntry | None) -> RecordedRun:
    history = History.of(trial)
    return RecordedRun(
        number=trial.number,
        params=dict(trial.params),
        history=history,
        epochs=max(len(history), _divergence(trial) or 0),
        reason=None if trial.state == TrialState.COMPLETE else trial.user_attrs[REASON],
        training_s=None if seconds is None else seconds.training_s,
        measuring_s=None if seconds is None else seconds.measuring_s,
    )


def _header(study: optuna.Study, command: str) -> dict[str, Any]:
    distributions = optuna.search_space.intersection_search_space(study.get_trials(deepcopy=False))
    return {
        "format": FORMAT,
        "study": study.study_name,
        "command": command,
        "experiment": study.user_attrs[EXPERIMENT],
        "fingerprint": study.user_attrs.get(FINGERPRINT),
        "space": dict(_packed(distributions)),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "optuna": optuna.__version__,
        },
        "hardware": f"{processor()}, {study.user_attrs[EXPERIMENT].get('threads', 1)} thread(s)",
    }


def _packed(distributions: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, each in sorted(distributions.items()):
        yield name, distribution_to_json(each)
