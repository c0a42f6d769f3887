"""A recorded table: what trainings measured, epoch by epoch, in one small file, to be searched again.

The first line is a header that says how the runs were made; each further line is one run, in JSON, columns
over epochs; all is compressed by gzip. Numbers have 7 significant digits, seconds 3; what is not finite is a
string. The same table gives the same bytes.
"""

import gzip
import json
import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from optuna.distributions import BaseDistribution, json_to_distribution

from hpo_gn.errors import DataError
from hpo_gn.history import History, row_attributes
from hpo_gn.local_files import LocalFiles
from hpo_gn.measures import Cost, Row
from hpo_gn.recorded.axis_weights import axis_weights
from hpo_gn.unit_cube import UnitCube

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
        test_accuracy: of retrainings on the full training set, one a seed, in [0, 1]; empty if unknown.
        test_loss: likewise.
        failed_retrainings: how many others did not succeed.
    """

    number: int
    params: Params
    history: History
    epochs: int
    reason: str | None = None
    training_s: float | None = None
    measuring_s: float | None = None
    test_accuracy: tuple[float, ...] = ()
    test_loss: tuple[float, ...] = ()
    failed_retrainings: int = 0

    @property
    def completed(self) -> bool:
        """Whether it was trained to the end."""
        return self.reason is None

    @property
    def tested(self) -> bool:
        """Whether it was retrained and tested, or at least tried to be."""
        return bool(self.test_accuracy) or self.failed_retrainings > 0

    @property
    def agn(self) -> float:
        """AGN, the sum over its epochs; NaN where it was not recorded at each."""
        return sum(row.get("agn", math.nan) for row in self.history.rows)

    @property
    def val_loss(self) -> float:
        """The validation loss after its last epoch; NaN where there is none."""
        return self.history.rows[-1].get("val_loss", math.nan) if self.history.rows else math.nan

    @cached_property
    def attributes(self) -> tuple[dict[str, dict[str, Any]], ...]:
        """The user attributes of a trial that hold the history, those of an epoch each."""
        return tuple(row_attributes(epoch, row) for epoch, row in enumerate(self.history.rows, 1))


@dataclass(frozen=True)
class RecordedTable:
    """The runs of one study.

    Args:
        header: how they were made.
        runs: in the order of their trials.
    """

    header: Mapping[str, Any] = field(repr=False)
    runs: tuple[RecordedRun, ...] = field(repr=False)

    @property
    def epochs(self) -> int:
        """Of a run that is trained to the end."""
        return int(self.header["experiment"]["epochs"])

    @cached_property
    def distributions(self) -> dict[str, BaseDistribution]:
        """The space."""
        return {name: json_to_distribution(text) for name, text in self.header["space"].items()}

    @cached_property
    def points(self) -> npt.NDArray[np.float64]:
        """Each run's configuration as a point of the unit cube of the space, [runs, dimensions]."""
        cube = UnitCube(self.distributions)
        return np.array([cube.encode(run.params) for run in self.runs]).reshape(-1, cube.dimensions)

    @cached_property
    def weights(self) -> npt.NDArray[np.float64]:
        """How much each axis of the cube matters to the validation loss and to AGN, see `axis_weights`."""
        ended = np.array([(run.val_loss, run.agn) if run.completed else (math.inf,) * 2 for run in self.runs])
        ended = ended.reshape(-1, 2)
        recorded = np.isfinite(ended).any(axis=0)
        known = np.isfinite(ended[:, recorded]).all(axis=1)
        return axis_weights(self.points[known], ended[known][:, recorded])


def read_table(path: str | Path) -> RecordedTable:
    """The table in a file.

    Raises:
        DataError: the file is missing, damaged, or holds something else.
    """
    path = Path(path)
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            lines = [json.loads(line) for line in file]
        if not lines:
            raise DataError(f"{path.name} is empty")
        header, *runs = lines
        if header.get("format") != FORMAT:
            raise DataError(f"{path.name} must begin with the header of {FORMAT!r}")
        if header["runs"] != len(runs):
            raise DataError(f"{path.name} must hold {header['runs']} runs, got {len(runs)}")
        table = RecordedTable(header, tuple(map(_run, runs)))
        _check(table)
    except FileNotFoundError:
        raise DataError(f"there is no recorded table {path}") from None
    except (OSError, EOFError, zlib.error, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path.name} holds no recorded runs: {type(error).__name__}: {error}") from None
    return table


def write_table(table: RecordedTable, path: str | Path) -> None:
    """Write a table to a file, `.jsonl.gz`, which is replaced as a whole."""
    path = Path(path)
    lines = [{**table.header, "runs": len(table.runs)}, *map(_line, table.runs)]
    text = "".join(json.dumps(line, separators=(",", ":"), allow_nan=False) + "\n" for line in lines)
    # The moment would make two files of the same runs differ.
    LocalFiles(path.parent).write(path.name, gzip.compress(text.encode(), mtime=0))


def _check(table: RecordedTable) -> None:
    _ = table.points  # refuses a configuration outside the space
    for run in table.runs:
        if run.completed and not len(run.history) == run.epochs == table.epochs:
            raise ValueError(f"run {run.number} must have {table.epochs} epochs, got {len(run.history)}")


def _line(run: RecordedRun) -> dict[str, Any]:
    tests = {
        "test_accuracy": [_rounded(value) for value in run.test_accuracy],
        "test_loss": [_rounded(value) for value in run.test_loss],
        "failed_retrainings": run.failed_retrainings,
    }
    return {
        "number": run.number,
        "params": run.params,
        "epochs": run.epochs,
        "reason": run.reason,
        "training_s": None if run.training_s is None else _rounded(run.training_s, 3),
        "measuring_s": None if run.measuring_s is None else _rounded(run.measuring_s, 3),
        "columns": _columns(run.history.rows, _rounded),
        "costs": _columns((row.costs for row in run.history.rows), _cost),
        **{name: value for name, value in tests.items() if value},
    }


def _columns(rows: Iterable[Mapping[str, Any]], pack: Callable[[Any], Any]) -> dict[str, list[Any]]:
    """Rows as columns over the epochs; None where a row lacks one."""
    rows = list(rows)
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [pack(row[name]) if name in row else None for row in rows] for name in names}


def _rows(columns: Mapping[str, list[Any]], unpack: Callable[[Any], Any]) -> Iterator[dict[str, Any]]:
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
    tests: dict[str, Any] = {
        name: tuple(map(float, line.pop(name, ()))) for name in ("test_accuracy", "test_loss")
    }
    return RecordedRun(history=history, **line, **tests)
