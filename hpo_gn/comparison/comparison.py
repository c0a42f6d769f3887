"""A comparison from beginning to end: its cells run or continued, their results kept, its page written."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from hpo_gn.comparison.cells import Cell
from hpo_gn.comparison.forecast import Forecast, forecast, probe_tasks
from hpo_gn.comparison.progress import CellsProgress
from hpo_gn.comparison.result import CellResult
from hpo_gn.comparison.running import Running
from hpo_gn.comparison.spec import Spec
from hpo_gn.comparison.store import BEGUN, MISSING, RUNNING, CellState, CellStore
from hpo_gn.comparison.working import Work
from hpo_gn.database_url import sqlite_url
from hpo_gn.errors import HpoGnError
from hpo_gn.local_files import LocalFiles

RESULTS = "cells.jsonl"
"""The file of a comparison's results, a line each."""

_LONG_S = 3600.0
_MANY = 200


@dataclass(frozen=True)
class Comparison:
    """A comparison that is to be run.

    Args:
        spec: what it is of.
        cells: all of them.
        storage: URL of the database that its cells' studies are in.
        output: folder of its files.
        devices: one for each cell that runs at once.
        checkpoints: as of `search`, within the reach of every machine that works on the comparison.
        lease_s: seconds after which a silent process counts as dead.
        console: where to show progress.
    """

    spec: Spec
    cells: Sequence[Cell]
    storage: str
    output: Path
    devices: Sequence[str]
    checkpoints: str | None
    lease_s: float
    console: Console

    @property
    def store(self) -> CellStore:
        """Where its cells stand."""
        return CellStore(self.storage, self.spec.budget, self.spec.retrainings, self.lease_s)

    def run(self, cells: Sequence[Cell], *, sure: bool, retry_failed: bool) -> dict[str, str]:
        """Run those of the cells that have no result.

        Args:
            cells: which.
            sure: start however long it takes.
            retry_failed: run those that failed again, too.

        Returns:
            Why cells have no result that is not their own fault, by name.

        Raises:
            HpoGnError: it takes long, and nobody is sure; or anything that the caller can mend.
            KeyboardInterrupt: after Ctrl-C.
        """
        states = self.store.read(cells, retry_failed=retry_failed)
        unfinished = [each for each in states if each.state in (MISSING, BEGUN, RUNNING)]
        if not unfinished:
            return {}
        expected = self._forecast([each.cell for each in unfinished])
        self.console.print(f"{self.spec.name}: {expected}.", highlight=False, soft_wrap=True, markup=False)
        if not sure and (len(unfinished) > _MANY or (expected.seconds or 0) > _LONG_S):
            raise HpoGnError(
                f"{self.spec.name}: {expected}; give --yes to start, or --only some of the cells"
            )
        return self._run(states, unfinished)

    def results(self) -> dict[str, CellResult]:
        """The results that are there, by cell, in the cells' order."""
        states = self.store.read(self.cells)
        return {each.cell.name: each.result for each in states if each.result is not None}

    def _forecast(self, cells: Sequence[Cell]) -> Forecast:
        alone = len(cells) == 1  # as a cluster runs them, which would probe each
        return forecast(
            cells,
            budget=self.spec.budget,
            retrainings=self.spec.retrainings,
            workers=min(len(self.devices), len(cells)),
            probes=None if alone else probe_tasks(cells, self.devices[0]),
            write_s=0.0 if alone else self._write_s(),
        )

    def _write_s(self) -> float:
        """Seconds of a write; where there is no database yet, that of another one, so that none is made."""
        if self.store.exists():
            return self.store.write_s()
        with tempfile.TemporaryDirectory() as folder:
            url = sqlite_url(Path(folder) / "study.db")
            return CellStore(url, self.spec.budget, self.spec.retrainings, self.lease_s).write_s()

    def _run(self, states: Sequence[CellState], unfinished: Sequence[CellState]) -> dict[str, str]:
        self.output.mkdir(parents=True, exist_ok=True)
        self.store.prepare()
        before = {each.cell.name: each.result for each in states if each.result and each not in unfinished}
        tasks = [
            Work(each.cell, each.study, self.store, self.output, self.devices[0], self.checkpoints)
            for each in unfinished
        ]
        with CellsProgress(before, len(states), self.spec.budget, self.storage, self.console) as progress:

            def finished(task: Work) -> None:
                result = self.store.result(task.study)
                if result is not None:
                    progress.ended(task.cell.name, result)

            running = Running(tasks, self.devices, finished)
            running.run(lambda: progress.update([task.study for task in running.working]))
        return running.troubles


def write_results(results: Sequence[CellResult], output: Path) -> None:
    """Write `cells.jsonl`: whole, or as it was."""
    lines = "".join(f"{result.to_json()}\n" for result in results)
    LocalFiles(output).write(RESULTS, lines.encode())
