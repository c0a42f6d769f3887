"""What one cell of a comparison gave."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from hpo_gn.errors import DataError


@dataclass(frozen=True)
class Labels:
    """Which cell it is: what was combined, each as the specification calls it.

    Args:
        objective: as text, with its settings, e.g. "agn-val(alpha=0.0001)".
        searcher: its name.
        pruner: its name, or "none".
        model: its name.
        data: its name.
        seed: of the search.
    """

    objective: str
    searcher: str
    pruner: str
    model: str
    data: str
    seed: int

    @property
    def method(self) -> tuple[str, str, str]:
        """What is compared: (objective, searcher, pruner)."""
        return (self.objective, self.searcher, self.pruner)

    @property
    def task(self) -> tuple[str, str]:
        """What it is compared on: (model, data)."""
        return (self.model, self.data)


@dataclass(frozen=True)
class Incumbent:
    """The best configuration from some moment of the search on, by the cell's objective.

    Args:
        trial: its number.
        epochs: GPU×epochs that the search had spent when it became the best.
        seconds: of training and measuring that all workers together had spent then.
        value: the objective's.
        val_loss: its validation loss at the end.
        val_accuracy: its validation accuracy at the end, in [0, 1].
        test_accuracy: of retrainings on the full training set, one a seed, in [0, 1]; empty if unknown.
    """

    trial: int
    epochs: float
    seconds: float
    value: float
    val_loss: float
    val_accuracy: float
    test_accuracy: tuple[float, ...] = ()


@dataclass(frozen=True)
class CellResult:
    """A search of one cell, and its winner's test.

    Args:
        labels: which cell.
        replayed: whether trainings were looked up in a recorded table, not run.
        budget: in GPU×epochs.
        spent: of it, measuring included where it is charged.
        training_s: seconds of training in the search, over all workers.
        measuring_s: likewise of measuring.
        trials: how many ended in each state, e.g. {"complete": 30, "fail": 2}.
        incumbents: in the order in which they became the best; the last is the winner.
        params: the winner's.
        test_accuracy: of the winner's retrainings that succeeded, one a seed, in [0, 1].
        test_loss: likewise.
        failed_retrainings: how many of them did not succeed.
        chance: the accuracy of always naming the most frequent class, which is what a failure counts as.
        failure: why the cell has no winner; None if it has one.
    """

    labels: Labels
    replayed: bool
    budget: int
    spent: float
    training_s: float
    measuring_s: float
    trials: Mapping[str, int]
    incumbents: tuple[Incumbent, ...]
    params: Mapping[str, Any]
    test_accuracy: tuple[float, ...]
    test_loss: tuple[float, ...]
    failed_retrainings: int
    chance: float
    failure: str | None = None

    @property
    def score(self) -> float:
        """Mean test accuracy over the retrainings; one that failed counts as chance, and so does the whole
        cell if it has no winner. NaN if the winner was not tested.
        """
        if self.failure is not None:
            return self.chance
        accuracies = [*self.test_accuracy, *[self.chance] * self.failed_retrainings]
        return sum(accuracies) / len(accuracies) if accuracies else float("nan")

    def to_json(self) -> str:
        """As one line; a number that is not finite is null."""
        return json.dumps(_finite(asdict(self)), allow_nan=False)

    @classmethod
    def from_json(cls, line: str) -> Self:
        """What `to_json` wrote.

        Raises:
            DataError: the line is damaged, or of something else.
        """
        try:
            given = json.loads(line)
            if given.keys() != {field.name for field in fields(cls)}:
                raise ValueError("other fields")
            incumbents = tuple(
                Incumbent(**_numbers(each) | {"test_accuracy": tuple(each["test_accuracy"])})
                for each in given["incumbents"]
            )
            listed = {name: tuple(given[name]) for name in ("test_accuracy", "test_loss")}
            numbers = {"chance": math.nan if given["chance"] is None else given["chance"]}
            return cls(
                **given | numbers | listed | {"labels": Labels(**given["labels"]), "incumbents": incumbents}
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"not a result of a cell: {error}") from None


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _numbers(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: math.nan if value is None else value for name, value in given.items()}
