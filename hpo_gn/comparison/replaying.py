"""Replaying the cells of a comparison on a recorded table: no training, so hundreds of seeds."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path

import optuna
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from hpo_gn.comparison.cells import Cell
from hpo_gn.comparison.result import CellResult
from hpo_gn.crew import forkserver
from hpo_gn.durations import format_clock
from hpo_gn.errors import HpoGnError
from hpo_gn.recorded import RecordedTable, read_table, replay

_LONG_S = 3600.0
_TOGETHER = 16
"""Cells that a process takes at a time."""


def replay_cells(
    cells: Sequence[Cell],
    table: Path,
    output: Path,
    *,
    budget: int,
    workers: int,
    console: Console,
    sure: bool = False,
) -> list[CellResult]:
    """The result of each cell, in their order.

    Args:
        cells: of a comparison of one model and data set, the table's.
        table: file of the recorded runs.
        output: folder for the results, made before the replays begin, which must not be for nothing.
        budget: of each, in GPU×epochs.
        workers: processes.
        console: where to show progress, and before it how long it will take.
        sure: start however long that is.

    Raises:
        HpoGnError: the table cannot be read, is of another experiment, or lacks what an objective needs; or
            it takes longer than an hour, and nobody is sure.
    """
    seconds = _first_of_each(cells, read_table(table), budget) / workers
    expected = f"{len(cells):,} replays: about {format_clock(seconds)}, {workers} at once"
    if seconds > _LONG_S and not sure:
        raise HpoGnError(f"{expected}; give --yes to start, or fewer --seeds")
    output.mkdir(parents=True, exist_ok=True)
    console.print(f"{expected}.", highlight=False)
    chunks = [cells[start : start + _TOGETHER] for start in range(0, len(cells), _TOGETHER)]
    results: list[CellResult] = []
    with _pool(workers, table, budget) as pool, _progress(console) as progress:
        task = progress.add_task("replays", total=len(cells))
        for chunk in pool.map(_replay_all, chunks):
            results += chunk
            progress.update(task, completed=len(results))
    return results


def _first_of_each(cells: Sequence[Cell], recorded: RecordedTable, budget: int) -> float:
    """Replay every method once, before hundreds of seeds; the seconds that all will take one by one."""
    counts = Counter(cell.labels.method for cell in cells)
    seconds = 0.0
    for method, cell in {cell.labels.method: cell for cell in reversed(cells)}.items():
        began = time.monotonic()
        _replayed(cell, recorded, budget)
        seconds += counts[method] * (time.monotonic() - began)
    return seconds


def _replayed(cell: Cell, recorded: RecordedTable, budget: int) -> CellResult:
    try:
        return replay(cell.experiment, recorded, budget=budget).result(cell.labels)
    except HpoGnError as error:
        raise HpoGnError(f"{cell.labels.objective} with {cell.labels.searcher}: {error}") from None


@contextmanager
def _pool(workers: int, table: Path, budget: int) -> Iterator[ProcessPoolExecutor]:
    pool = ProcessPoolExecutor(workers, mp_context=forkserver(), initializer=_begin, initargs=(table, budget))
    try:
        yield pool
    except BrokenProcessPool:
        raise HpoGnError("a replaying process died") from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
    )


_here: tuple[RecordedTable, int]
"""What a process of the pool replays on, and at which budget."""


def _begin(table: Path, budget: int) -> None:
    global _here
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    torch.set_num_threads(1)
    _here = read_table(table), budget


def _replay_all(cells: Sequence[Cell]) -> list[CellResult]:
    recorded, budget = _here
    return [_replayed(cell, recorded, budget) for cell in cells]
