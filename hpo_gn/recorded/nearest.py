"""Which recorded run stands for a configuration that was never trained: the nearest one."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from hpo_gn.errors import DataError
from hpo_gn.recorded.table import RecordedRun, RecordedTable
from hpo_gn.unit_cube import UnitCube


class NearestRuns:
    """The nearest recorded run to each configuration, among those that were not given out yet.

    Near is by Euclidean distance in the unit cube of the space, where logarithmic parameters are logarithms,
    each axis weighted by how much it matters to what runs end with (`RecordedTable.weights`); of equally near
    runs it is the earlier one. `leave_one_out` measures how well a run is foretold by its neighbour.

    **Chosen**: a run is given out once, so that no evaluation is spent on a repeat. The consequence: a
    searcher that proposes many configurations in one small region gets runs from ever farther around it, and
    the fewer runs a table has, the more alike all searchers look. So a replay understates how much a searcher
    gains by converging; it is at its best for what chooses among runs: objectives and pruners.

    Args:
        table: the runs.
    """

    def __init__(self, table: RecordedTable) -> None:
        self._runs = table.runs
        self._cube = UnitCube(table.distributions)
        self._points, self._weights = table.points, table.weights
        self._given = np.zeros(len(table.runs), dtype=bool)

    def take(self, params: Mapping[str, Any]) -> RecordedRun:
        """The run that stands for a configuration from now on.

        Raises:
            DataError: every run was given out.
        """
        if self._given.all():
            raise DataError(f"all {len(self._runs)} recorded runs are used up")
        squares = ((self._points - self._cube.encode(params)) ** 2) @ self._weights
        squares[self._given] = np.inf
        index = int(squares.argmin())
        self._given[index] = True
        return self._runs[index]
