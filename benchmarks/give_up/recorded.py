"""Recorded runs: what a search's trainings measured, epoch by epoch, in one small file, to be replayed.

The first line is a header that says how the runs were made; each further line is one run, in JSON, columns
over epochs. A run that diverged is kept; one that ended for a reason of the search's own, or not yet, is not.
Numbers have 7 significant digits, seconds 3; what is not finite is a string. The same study gives the same
bytes.

    python -m benchmarks.give_up.recorded STORAGE STUDY FILE --command "hpo-gn search …"
"""

import argparse
import gzip
import json
import math
import platform
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.trial import FrozenTrial, TrialState

from benchmarks.machine import processor
from hpo_gn.budget import Ledger
from hpo_gn.budget.statement import TrialEntry
from hpo_gn.errors import DataError, StorageError
from hpo_gn.history import History
from hpo_gn.measures import Cost, Row
from hpo_gn.storage import open_storage
from hpo_gn.studies import EXPERIMENT
from hpo_gn.trial import REASON
from hpo_gn.worker import FINGERPRINT

FORMAT = "hpo_gn recorded runs 1"

Params = dict[str, Any]


@dataclass(frozen=True)
class RecordedRun:
    """One training.

    Args:
        number: of its trial.
        params: its configuration.
        history: what was measured, and what measuring cost.
        epochs: what it cost; more than the history has if it diverged before an epoch's end.
        reason: why it failed; None for one that was trained to the end.
        training_s, measuring_s: seconds in all; None where no ledger has them.
    """

    number: int
    params: Params
    history: History
    epochs: int
    reason: str | None = None
    training_s: float | None = None
    measuring_s: float | None = None

    @property
    def completed(self) -> bool:
        """Whether it was trained to the end."""
        return self.reason is None


@dataclass(frozen=True)
class Recorded:
    """The runs of one search.

    Args:
        header: how they were made.
        runs: in the order of their trials.
    """

    header: Mapping[str, Any]
    runs: tuple[RecordedRun, ...]

    @property
    def epochs(self) -> int:
        """Of a run that is trained to the end."""
        return int(self.header["experiment"]["epochs"])

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """The space."""
        return {name: json_to_distribution(text) for name, text in self.header["space"].items()}


def record(storage: str, study: str, file: Path, *, command: str) -> Recorded:
    """Write a search's runs to a file, `.jsonl.gz`.

    Args:
        storage: URL of its database.
        study: its name.
        file: which is replaced.
        command: that made the runs, for the header.

    Raises:
        StorageError: there is no study at the URL.
        DataError: no run of the study has ended.
    """
    opened = optuna.load_study(study_name=study, storage=open_storage(storage, create=False))
    trials = opened.get_trials(deepcopy=False)
    seconds = _seconds(storage, study)
    lines = [_line(trial, seconds.get(trial.number)) for trial in trials if _is_run(trial)]
    if not lines:
        raise DataError(f"no run of study {study!r} has ended")
    header = _header(opened, command) | {"runs": len(lines), "other_trials": len(trials) - len(lines)}
    # The moment and the name would make two files of the same runs differ.
    with file.open("wb") as raw, gzip.GzipFile("", "wb", mtime=0, fileobj=raw) as packed:
        for line in (header, *lines):
            packed.write(json.dumps(line, separators=(",", ":"), allow_nan=False).encode() + b"\n")
    return read(file)


def read(file: Path) -> Recorded:
    """The runs of a file.

    Raises:
        DataError: the file is missing, damaged, or holds something else.
    """
    try:
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            header, *runs = map(json.loads, lines)
        if header.get("format") != FORMAT:
            raise DataError(f"{file.name} must begin with the header of {FORMAT!r}")
        if header["runs"] != len(runs):
            raise DataError(f"{file.name} must hold {header['runs']} runs, got {len(runs)}")
        return Recorded(header, tuple(map(_run, runs)))
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{file.name} holds no recorded runs: {type(error).__name__}: {error}") from None


def _is_run(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.COMPLETE or _divergence(trial) is not None


def _divergence(trial: FrozenTrial) -> int | None:
    """The epoch in which it diverged."""
    found = re.match(r"diverged at epoch (\d+)", trial.user_attrs.get(REASON, ""))
    return int(found.group(1)) if found and trial.state == TrialState.FAIL else None


def _seconds(storage: str, study: str) -> dict[int, TrialEntry]:
    try:
        ledger = Ledger.open_existing(storage, study)
    except StorageError:  # a study that was not made by a search has none
        return {}
    try:
        return {entry.trial: entry for entry in ledger.statement().trials}
    finally:
        ledger.close()


def _header(study: optuna.Study, command: str) -> dict[str, Any]:
    distributions = optuna.search_space.intersection_search_space(study.get_trials(deepcopy=False))
    return {
        "format": FORMAT,
        "study": study.study_name,
        "command": command,
        "experiment": study.user_attrs[EXPERIMENT],
        "fingerprint": study.user_attrs[FINGERPRINT],
        "space": {name: distribution_to_json(each) for name, each in sorted(distributions.items())},
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "optuna": optuna.__version__,
        },
        "hardware": f"{processor()}, 1 thread",
    }


def _line(trial: FrozenTrial, seconds: TrialEntry | None) -> dict[str, Any]:
    history = History.of(trial)
    return {
        "number": trial.number,
        "params": trial.params,
        "epochs": max(len(history), _divergence(trial) or 0),
        "reason": None if trial.state == TrialState.COMPLETE else trial.user_attrs[REASON],
        "training_s": seconds and _rounded(seconds.training_s, 3),
        "measuring_s": seconds and _rounded(seconds.measuring_s, 3),
        "columns": _columns(history.rows, _rounded),
        "costs": _columns((row.costs for row in history.rows), _cost),
    }


def _columns(rows: Iterable[Mapping[str, Any]], pack: Any) -> dict[str, list[Any]]:
    """Rows as columns over the epochs; None where a row lacks one."""
    rows = list(rows)
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [pack(row[name]) if name in row else None for row in rows] for name in names}


def _rows(columns: Mapping[str, list[Any]], unpack: Any) -> Iterator[dict[str, Any]]:
    for values in zip(*columns.values(), strict=True):
        named = zip(columns, values, strict=True)
        yield {name: unpack(value) for name, value in named if value is not None}


def _rounded(number: float, digits: int = 7) -> float | str:
    return float(f"{number:.{digits}g}") if math.isfinite(number) else str(number)


def _cost(cost: Cost) -> list[float | str]:
    return [_rounded(cost.seconds, 3), _rounded(cost.forward, 3), _rounded(cost.backward, 3)]


def _run(line: dict[str, Any]) -> RecordedRun:
    costs = _rows(line.pop("costs"), lambda numbers: Cost(*map(float, numbers)))
    history = History(Row(row, next(costs, None)) for row in _rows(line.pop("columns"), float))
    return RecordedRun(history=history, **line)


def main() -> None:
    """Write a study's runs, and say how many there are."""
    parser = argparse.ArgumentParser()
    parser.add_argument("storage")
    parser.add_argument("study")
    parser.add_argument("file", type=Path)
    parser.add_argument("--command", required=True)
    arguments = parser.parse_args()
    recorded = record(arguments.storage, arguments.study, arguments.file, command=arguments.command)
    diverged = sum(not run.completed for run in recorded.runs)
    size = arguments.file.stat().st_size
    print(f"{len(recorded.runs)} runs, {diverged} of them diverged, {size:,} bytes")


if __name__ == "__main__":
    main()
