"""Finished searches, each a line of a file, and their regrets at a moment."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Regrets = list[npt.NDArray[np.float64]]
"""Of one contestant: for each table the regrets of its seeds, in the order of seeds."""


@dataclass(frozen=True)
class Run:
    """One finished search.

    Args:
        table: the table's name.
        contestant: the searcher's.
        seed: of the searcher.
        repeats: the trainings that make a full evaluation of a configuration.
        spent: all its trainings.
        curve: the trainings spent when the incumbent changed, with the new one's regret.
    """

    table: str
    contestant: str
    seed: int
    repeats: int
    spent: int
    curve: Sequence[tuple[int, float]]

    def regret(self, evaluations: int) -> float:
        """The incumbent's regret once so many full evaluations are spent, at least 1."""
        return [regret for spent, regret in self.curve if spent <= evaluations * self.repeats][-1]


def read(path: Path) -> list[Run]:
    """The runs of a file, none where there is no file."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [Run(**json.loads(line)) for line in lines]


def append(path: Path, run: Run) -> None:
    """Add a run to the file as a line."""
    with path.open("a") as file:
        file.write(json.dumps(vars(run), separators=(",", ":")) + "\n")


class Runs:
    """Runs by contestant and table.

    Args:
        runs: in any order; a run that is there twice counts once.
    """

    def __init__(self, runs: Iterable[Run]) -> None:
        self._runs: dict[tuple[str, str], dict[int, Run]] = {}
        for run in sorted(runs, key=lambda run: run.seed):
            self._runs.setdefault((run.contestant, run.table), {})[run.seed] = run
        self.contestants = sorted({name for name, _ in self._runs})
        self.tables = sorted({table for _, table in self._runs})

    def tables_of(self, contestants: Iterable[str], among: Iterable[str] | None = None) -> list[str]:
        """The tables on which all the contestants have runs."""
        names = list(contestants)
        tables = self.tables if among is None else among
        return [table for table in tables if all((name, table) in self._runs for name in names)]

    def regrets(self, contestant: str, tables: Sequence[str], evaluations: int) -> Regrets:
        """The contestant's regrets after so many full evaluations."""
        found = (self._runs[contestant, table].values() for table in tables)
        return [np.array([run.regret(evaluations) for run in runs]) for runs in found]

    def differences(self, ours: str, theirs: str, tables: Sequence[str], evaluations: int) -> Regrets:
        """Our regret less theirs, for each table and each seed that both have."""
        both = ((self._runs[ours, table], self._runs[theirs, table]) for table in tables)
        return [
            np.array(
                [
                    run.regret(evaluations) - other[seed].regret(evaluations)
                    for seed, run in mine.items()
                    if seed in other
                ]
            )
            for mine, other in both
        ]
