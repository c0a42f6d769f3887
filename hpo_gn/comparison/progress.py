"""What a comparison shows while it runs: cells and epochs, done and left."""

import time
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from hpo_gn.budget import Ledger
from hpo_gn.comparison.result import CellResult
from hpo_gn.durations import format_clock
from hpo_gn.errors import StorageError
from hpo_gn.fidelity import format_epochs


class CellsProgress:
    """A live line on a terminal; elsewhere a line for each cell that has ended.

    Args:
        results: that were there before, by cell.
        total: how many cells there are.
        budget: of each, in GPU×epochs.
        storage: URL of the database.
        console: where.
    """

    def __init__(
        self, results: Mapping[str, CellResult], total: int, budget: int, storage: str, console: Console
    ) -> None:
        self._spent = {name: result.spent for name, result in results.items()}
        self._total, self._budget, self._storage, self._console = total, budget, storage, console
        self._failed = sum(result.failure is not None for result in results.values())
        self._began, self._at_first = time.monotonic(), sum(self._spent.values())
        self._live = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[epochs]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._live.add_task("", total=total * budget, epochs="", left="")

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.update([])
        self._live.stop()

    def update(self, studies: Sequence[str]) -> None:
        """Show the cells as they are now.

        Args:
            studies: that are worked on.
        """
        if not self._console.is_terminal:
            return
        spent = sum(self._spent.values()) + sum(map(self._spent_by, studies))
        self._live.update(
            self._task,
            description=self._cells(),
            completed=spent,
            epochs=f"{format_epochs(spent)}/{self._total * self._budget} epochs",
            left=self._time_left(spent),
        )

    def ended(self, name: str, result: CellResult) -> None:
        """A cell has a result."""
        self._spent[name] = result.spent
        self._failed += result.failure is not None
        said = f"failed: {result.failure}" if result.failure else f"test accuracy {100 * result.score:.2f} %"
        line = f"{self._cells()}, {format_epochs(sum(self._spent.values()))} epochs: {name}: {said}"
        self._console.print(line, highlight=False, soft_wrap=True, markup=False)

    def _cells(self) -> str:
        failed = f", {self._failed} failed" if self._failed else ""
        return f"{len(self._spent)}/{self._total} cells{failed}"

    def _spent_by(self, study: str) -> float:
        with suppress(StorageError), closing(Ledger.open_existing(self._storage, study)) as ledger:
            return ledger.statement().account.spent
        return 0.0

    def _time_left(self, spent: float) -> str:
        done, whole = spent - self._at_first, self._total * self._budget
        if done <= 0 or spent >= whole:
            return ""
        seconds = (time.monotonic() - self._began) / done * (whole - spent)
        return f"about {format_clock(seconds)} to go"
