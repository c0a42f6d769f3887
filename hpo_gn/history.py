"""History: a trial's measures, one row an epoch, and its place on an Optuna trial."""

from collections.abc import Iterable, Mapping
from dataclasses import astuple
from typing import Any, Self

import optuna

from hpo_gn.errors import StudyError
from hpo_gn.measures.cost import Cost
from hpo_gn.measures.row import Row

_PREFIX = "hpo_gn:epoch:"
_COSTS = "hpo_gn:costs:"


class History:
    """A trial's measures: row τ − 1 holds the columns measured at the end of epoch τ, and what they cost.

    Two histories with the same columns are equal, whatever they cost.

    Args:
        rows: the rows of epochs 1, 2, ….
    """

    def __init__(self, rows: Iterable[Mapping[str, float]] = ()) -> None:
        self.rows: tuple[Row, ...] = tuple(Row(row, getattr(row, "costs", None)) for row in rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, History) and self.rows == other.rows

    __hash__ = None  # type: ignore[assignment]  # rows are mappings

    def __repr__(self) -> str:
        return f"History({len(self)} epochs)"

    def column(self, name: str) -> tuple[float, ...]:
        """One measure over the epochs, [E].

        Raises:
            StudyError: an epoch's row lacks it.
        """
        return tuple(self._at(epoch, name) for epoch in range(1, len(self) + 1))

    def last(self, name: str) -> float:
        """One measure at the last epoch.

        Raises:
            StudyError: the history is empty or its last row lacks it.
        """
        if not self.rows:
            raise StudyError(f"the history is empty, so it has no {name!r}")
        return self._at(len(self), name)

    def _at(self, epoch: int, name: str) -> float:
        row = self.rows[epoch - 1]
        if name not in row:
            has = ", ".join(sorted(row)) or "nothing"
            raise StudyError(f"the history has no {name!r} at epoch {epoch}; it has: {has}")
        return row[name]

    def with_row(self, row: Mapping[str, float]) -> "History":
        """This history and one more epoch."""
        return History((*self.rows, row))

    def upto(self, epochs: int) -> "History":
        """The first epochs of this history."""
        return History(self.rows[:epochs])

    @classmethod
    def of(cls, trial: optuna.trial.FrozenTrial | optuna.Trial) -> Self:
        """The history that a trial carries: all its rows from epoch 1 to the first gap."""
        attributes = trial.user_attrs
        rows: list[Row] = []
        while (key := f"{_PREFIX}{len(rows) + 1}") in attributes:
            costs = attributes.get(f"{_COSTS}{len(rows) + 1}", {})
            rows.append(Row(attributes[key], {name: Cost(*numbers) for name, numbers in costs.items()}))
        return cls(rows)


def has_gaps(trial: optuna.trial.FrozenTrial | optuna.Trial) -> bool:
    """Whether a trial has rows beyond the first epoch that has none, which its History leaves out."""
    rows = sum(key.startswith(_PREFIX) for key in trial.user_attrs)
    return any(f"{_PREFIX}{epoch}" not in trial.user_attrs for epoch in range(1, rows + 1))


def row_attributes(epoch: int, row: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    """The user attributes that hold one epoch's row, and beside it what it cost where it is a `Row`."""
    # A measure's numpy numbers would not survive the storage's JSON.
    attributes: dict[str, dict[str, Any]] = {
        f"{_PREFIX}{epoch}": {name: float(value) for name, value in row.items()}
    }
    if costs := getattr(row, "costs", None):
        attributes[f"{_COSTS}{epoch}"] = {name: astuple(cost) for name, cost in costs.items()}
    return attributes


def write_row(trial: optuna.Trial, epoch: int, row: Mapping[str, float]) -> None:
    """Put one epoch's row on a trial.

    It is a user attribute of its own, and so is what it cost, so that writing costs the same at any epoch.
    """
    for key, value in row_attributes(epoch, row).items():
        trial.set_user_attr(key, value)
