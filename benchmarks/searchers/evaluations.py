"""What a search has spent, and the best configuration that it could name at each moment."""

import math
from collections.abc import Mapping
from typing import Any

from benchmarks.searchers.tables import Table


class Spent(Exception):  # noqa: N818  # no error: every search ends so
    """The trainings asked for are more than the search has left."""


class Evaluations:
    """Trainings looked up in a table until they are spent.

    The incumbent is the configuration with the lowest cost among those trained with the most repeats so far,
    and its regret is that of its cost over all repeats, which the search may not have seen.

    Args:
        table: where to look.
        trainings: how many the search may spend.

    Attributes:
        curve: the trainings spent when the incumbent changed, with its regret.
    """

    def __init__(self, table: Table, trainings: int) -> None:
        self.curve: list[tuple[int, float]] = []
        self.spent = 0
        self._table = table
        self._trainings = trainings
        self._trained: dict[tuple[Any, ...], int] = {}
        self._best = (0, math.inf)

    def evaluate(self, params: Mapping[str, Any], repeats: int | None = None) -> float:
        """The mean cost of a configuration over its first repeats, by default over all.

        A configuration that was trained with fewer repeats pays for the added ones; one that comes again with
        as many pays in full, as it does in a search.

        Raises:
            Spent: too few trainings are left.
        """
        repeats = repeats or self._table.repeats
        key = tuple(params[name] for name in self._table.choices)
        known = self._trained.get(key, 0)
        price = repeats - known if known < repeats else repeats
        if self.spent + price > self._trainings:
            raise Spent
        self.spent += price
        self._trained[key] = max(known, repeats)
        cost = self._table.cost(params, repeats)
        if (repeats, -cost) > (self._best[0], -self._best[1]):
            self._best = (repeats, cost)
            regret = self._table.regret(self._table.cost(params, self._table.repeats))
            self.curve.append((self.spent, regret))
        return cost
