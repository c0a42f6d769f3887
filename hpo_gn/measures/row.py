"""An epoch's measures."""

from collections.abc import Mapping

from hpo_gn.measures.cost import Cost


class Row(dict[str, float]):
    """Measures by column.

    Args:
        columns: the measures.
        costs: what each measure cost, by its first column, and, by the split's name, what the pass cost that
            the split's measures share.
    """

    def __init__(self, columns: Mapping[str, float], costs: Mapping[str, Cost] | None = None) -> None:
        super().__init__(columns)
        self.costs = dict(costs or {})

    def add_cost(self, name: str, cost: Cost) -> None:
        """Add to what is there under a name: a split may be walked twice, whole and as a subset."""
        before = self.costs.get(name)
        self.costs[name] = cost if before is None else before + cost
