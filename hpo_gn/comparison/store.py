"""Where a comparison stands: each cell's result is kept on its study, in the database that all share."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna

from hpo_gn.budget import Hold, Ledger
from hpo_gn.comparison.cells import Cell
from hpo_gn.comparison.result import CellResult
from hpo_gn.crew import release_dead
from hpo_gn.database_url import parse_database_url
from hpo_gn.errors import AlreadyHeldError, StorageError, StudyError
from hpo_gn.joining import PROTOCOL
from hpo_gn.owner import is_dead
from hpo_gn.storage import open_storage, patiently
from hpo_gn.studies import EXPERIMENT

RESULT = "hpo_gn:cell"
"""Study attribute: the cell's result, a line of JSON."""

_WRITES = 5

MISSING, RUNNING, BEGUN, DONE, FAILED = "missing", "running", "begun", "done", "failed"


@dataclass(frozen=True)
class CellState:
    """How a cell stands.

    Args:
        cell: which.
        study: the name of the study it is, or is to be, in: another for each attempt.
        state: "missing"; "running", by some process anywhere; "begun" by one that is gone; "done"; or
            "failed", which is a result, too.
        result: if it has one.
    """

    cell: Cell
    study: str
    state: str
    result: CellResult | None = None


class CellStore:
    """The cells of a comparison in a database.

    Args:
        storage: URL of the database.
        budget: of each cell, in GPU×epochs.
        retrainings: of each cell's winner.
        lease_s: seconds after which a silent process counts as dead.
    """

    def __init__(self, storage: str, budget: int, retrainings: int, lease_s: float) -> None:
        self.storage, self.budget, self.retrainings, self.lease_s = storage, budget, retrainings, lease_s

    def read(self, cells: Sequence[Cell], *, retry_failed: bool = False) -> list[CellState]:
        """How each cell stands.

        Args:
            cells: which.
            retry_failed: one that failed is missing again, in a study of its own.

        Raises:
            StudyError: a cell was run by another experiment, or with another budget.
            StorageError: the database cannot be opened.
        """
        studies = patiently(self._studies) if self.exists() else {}
        return [self._state(cell, studies, retry_failed=retry_failed) for cell in cells]

    def exists(self) -> bool:
        """Whether there is a database; looking makes none."""
        url = parse_database_url("storage", self.storage)
        return url.get_backend_name() != "sqlite" or Path(str(url.database)).exists()

    def prepare(self) -> None:
        """Make the database's tables, before processes that begin at once would all make them."""
        with self._open():
            pass

    def result(self, study: str) -> CellResult | None:
        """The result on a study, if it has one."""
        with self._open() as opened:
            line = optuna.load_study(study_name=study, storage=opened).user_attrs.get(RESULT)
        return None if line is None else CellResult.from_json(line)

    def write_s(self) -> float:
        """Seconds that the database takes for one write."""
        with self.claim("time of a write") as claim:
            if claim is None:
                return 0.0
            began = time.perf_counter()
            for _ in range(_WRITES):
                claim.confirm()
            return (time.perf_counter() - began) / _WRITES

    def write(self, study: str, result: CellResult, claim: Hold) -> None:
        """Keep a result.

        Raises:
            HoldClosedError: the cell is another process's meanwhile.
        """
        claim.confirm()
        with self._open() as opened:
            optuna.load_study(study_name=study, storage=opened).set_user_attr(RESULT, result.to_json())

    @contextmanager
    def claim(self, study: str) -> Iterator[Hold | None]:
        """The right to work on a cell: a hold for one process at a time, None for the others."""
        with closing(Ledger(self.storage, _account(study), limit=1, lease_s=self.lease_s)) as ledger:
            release_dead(ledger)
            try:
                hold = ledger.hold(0, epochs=1)
            except AlreadyHeldError:
                yield None
                return
            with hold:
                yield hold

    def _studies(self) -> dict[str, Mapping[str, Any]]:
        with self._open() as opened:
            return {each.study_name: each.user_attrs for each in opened.get_all_studies()}

    @contextmanager
    def _open(self) -> Iterator[optuna.storages.RDBStorage]:
        opened = open_storage(self.storage)
        try:
            yield opened
        finally:
            opened.remove_session()
            opened.engine.dispose()

    def _state(
        self, cell: Cell, studies: Mapping[str, Mapping[str, Any]], *, retry_failed: bool
    ) -> CellState:
        attempt = 1
        while _attempt(cell, attempt + 1) in studies:
            attempt += 1
        study = _attempt(cell, attempt)
        if study not in studies:
            return CellState(cell, study, MISSING)
        attributes = studies[study]
        self._check(cell, attributes)
        result = CellResult.from_json(attributes[RESULT]) if RESULT in attributes else None
        if result is None:
            return CellState(cell, study, RUNNING if self._is_claimed(study) else BEGUN)
        if result.failure is None:
            tested = len(result.test_accuracy) + result.failed_retrainings
            return CellState(cell, study, DONE if tested >= self.retrainings else BEGUN, result)
        if retry_failed:
            return CellState(cell, _attempt(cell, attempt + 1), MISSING)
        return CellState(cell, study, FAILED, result)

    def _is_claimed(self, study: str) -> bool:
        with suppress(StorageError), closing(Ledger.open_existing(self.storage, _account(study))) as ledger:
            entries = ledger.statement().trials
            return any(
                each.owner is not None and (each.lease_left_s or 0) > 0 and not is_dead(each.owner)
                for each in entries
            )
        return False

    def _check(self, cell: Cell, attributes: Mapping[str, Any]) -> None:
        """A cell is never continued by another experiment, nor with another budget, which would make it
        another search than one that had that budget from the beginning.
        """
        now = cell.experiment.identity() | {"budget": self.budget}
        limit = attributes.get(PROTOCOL, {}).get("limit", self.budget)
        before = attributes.get(EXPERIMENT, now) | {"budget": limit}
        for key, value in now.items():
            if before.get(key) != value:
                made = f"cell {cell.name} was run with {key} {before.get(key)!r}, not {value!r}"
                raise StudyError(f"{made}; give the comparison another name")


def _attempt(cell: Cell, number: int) -> str:
    return cell.study if number == 1 else f"{cell.study} (attempt {number})"


def _account(study: str) -> str:
    return f"{study}/cell"
