"""How much a comparison would run, and how long that takes, before anything is started."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hpo_gn.comparison.cells import Cell
from hpo_gn.durations import format_clock
from hpo_gn.experiment import Experiment
from hpo_gn.plan import plan
from hpo_gn.probe import PROBED_EPOCHS, Probe, probe
from hpo_gn.retraining import ROLES

Task = tuple[str, str]

_WRITES = 10
"""Writes to the database that go with an epoch: its charge, its seconds, its row, its costs, its value, …"""


@dataclass(frozen=True)
class Forecast:
    """What is to run.

    Args:
        cells: how many.
        budget: in GPU×epochs, of each.
        retraining: GPU×epochs of each cell's retraining, on the full training set.
        seconds: that it takes; None where nothing was probed.
        workers: cells that run at once.
    """

    cells: int
    budget: int
    retraining: int
    seconds: float | None
    workers: int

    def __str__(self) -> str:
        search, retraining = self.cells * self.budget, self.cells * self.retraining
        line = (
            f"{self.cells:,} {'cell' if self.cells == 1 else 'cells'} × {self.budget:,} = {search:,} "
            f"GPU×epochs, and {retraining:,} of retraining"
        )
        if self.seconds is None:
            return line
        return (
            f"{line}: about {format_clock(self.seconds)}, {self.workers} at once, by {PROBED_EPOCHS} probing "
            "epochs of each task's initial settings"
        )


def probe_tasks(cells: Sequence[Cell], device: str) -> dict[Task, Probe]:
    """A probe for each model and data set.

    Raises:
        HpoGnError: the data, the model or the training of one cannot be used.
    """
    first: dict[Task, Experiment] = {}
    for cell in cells:
        first.setdefault(cell.labels.task, cell.experiment)
    return {task: probe(experiment, device) for task, experiment in first.items()}


def forecast(
    cells: Sequence[Cell],
    *,
    budget: int,
    retrainings: int,
    workers: int,
    probes: Mapping[Task, Probe] | None = None,
    write_s: float = 0.0,
) -> Forecast:
    """What cells that have no result yet will run.

    Args:
        cells: those.
        budget, retrainings: of each.
        workers: cells that run at once.
        probes: of each task, for the time.
        write_s: seconds of one write to the database.
    """
    if not cells:
        return Forecast(0, budget, 0, None if probes is None else 0.0, workers)
    kinds = Counter((cell.labels.task, cell.labels.searcher) for cell in cells)
    example = {(cell.labels.task, cell.labels.searcher): cell.experiment for cell in cells}
    seconds = 0.0
    retraining = 0
    for (task, searcher), count in kinds.items():
        planned = plan(
            example[task, searcher],
            budget=budget,
            seeds=retrainings,
            searchers=[searcher],
            probe=None if probes is None else probes[task],
        )
        # A plan retrains the initial settings too, a cell its winner alone.
        retraining = planned.retraining // len(ROLES)
        retraining_s = (planned.retraining_work_s or 0) / len(ROLES)
        work_s = (planned.searchers[0].work_s or 0) + retraining_s
        seconds += count * (work_s + (budget + retraining) * _WRITES * write_s)
    return Forecast(len(cells), budget, retraining, None if probes is None else seconds / workers, workers)
