"""What the results of a comparison's cells say: differences from the baseline, ranks, overtuning, cost."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean, median, stdev

import numpy as np

from hpo_gn.comparison.result import CellResult, Incumbent
from hpo_gn.errors import DataError, UnknownNameError
from hpo_gn.statistics import Difference, Ranks, compare, holm, overtuning, rank

Method = tuple[str, str, str]
"""(objective, searcher, pruner)."""
Task = tuple[str, str]
"""(model, data)."""


@dataclass(frozen=True)
class Against:
    """A method against the one that differs from it by the baseline's objective alone.

    Args:
        method: it.
        difference: of their mean test accuracies, over pairs of the same task and seed.
        p: the difference's, corrected for all that are made (Holm).
        time: its search's seconds, training and measuring, over the baseline's: the median over pairs.
    """

    method: Method
    difference: Difference
    p: float
    time: float


@dataclass(frozen=True)
class MethodSummary:
    """One method on one task.

    Args:
        method: it.
        task: it.
        cells: how many seeds it was run with.
        untested: how many winners were not tested; they are in no figure of test accuracy.
        failed: how many searches have no winner; they count as chance.
        failed_retrainings: how many trainings of winners failed; they count as chance, too.
        accuracy: mean test accuracy over the seeds, in [0, 1]; NaN without any.
        deviation: its standard deviation over the seeds.
        spent: mean GPU×epochs.
        configurations: mean number of trials.
        seconds: mean seconds of training and measuring.
        measuring: share of them that measuring took.
        overtuning: mean over the seeds; NaN where the incumbents were not tested.
        overtuned: share of the searches that lost anything by going on; NaN likewise.
        known: in how many searches that is known.
    """

    method: Method
    task: Task
    cells: int
    untested: int
    failed: int
    failed_retrainings: int
    accuracy: float
    deviation: float
    spent: float
    configurations: float
    seconds: float
    measuring: float
    overtuning: float
    overtuned: float
    known: int


class Summary:
    """The results of a comparison.

    Args:
        results: of its cells, each once.
        baseline: the objective that the others are compared with; the first result's by default.

    Attributes:
        baseline: likewise.
        methods, tasks: in the order in which they first appear.

    Raises:
        DataError: there are no results, two of one cell, or cells of different budgets.
        UnknownNameError: no result is of the baseline.
    """

    def __init__(self, results: Sequence[CellResult], baseline: str | None = None) -> None:
        if not results:
            raise DataError("there are no results to compare")
        self.results = tuple(results)
        self._by_cell = {(each.labels.method, each.labels.task, each.labels.seed): each for each in results}
        if len(self._by_cell) < len(results):
            raise DataError("two results are of the same cell")
        budgets = sorted({each.budget for each in results})
        if len(budgets) > 1:
            raise DataError(f"cells must have one budget, got {' and '.join(map(str, budgets))}")
        self.budget = budgets[0]
        objectives = list(dict.fromkeys(each.labels.objective for each in results))
        self.baseline = objectives[0] if baseline is None else baseline
        if self.baseline not in objectives:
            raise UnknownNameError("objective of the comparison", self.baseline, objectives)
        self.methods: list[Method] = list(dict.fromkeys(each.labels.method for each in results))
        self.tasks: list[Task] = list(dict.fromkeys(each.labels.task for each in results))

    def of(self, method: Method, task: Task) -> list[CellResult]:
        """The results of a method on a task, by seed."""
        found = [each for each in self.results if (each.labels.method, each.labels.task) == (method, task)]
        return sorted(found, key=lambda each: each.labels.seed)

    def against_baseline(self) -> list[Against]:
        """Every method that has another objective than the baseline, and a counterpart that has it."""
        pairs = {
            method: self._pairs(method, counterpart)
            for method in self.methods
            if (counterpart := (self.baseline, *method[1:])) != method and counterpart in self.methods
        }
        differences = {method: _difference(found, len(pairs)) for method, found in pairs.items()}
        corrected = holm([each.p for each in differences.values()])
        return [
            Against(method, difference, p, _relative_time(pairs[method]))
            for (method, difference), p in zip(differences.items(), corrected, strict=True)
        ]

    def _pairs(self, method: Method, other: Method) -> list[tuple[CellResult, CellResult]]:
        return [
            (result, counterpart)
            for (which, task, seed), result in self._by_cell.items()
            if which == method and (counterpart := self._by_cell.get((other, task, seed))) is not None
        ]

    def ranks(self) -> tuple[list[Method], Ranks]:
        """Ranks of the methods that every block has, a block being a task and a seed; the methods' order is
        the ranks'.
        """
        blocks = sorted({(each.labels.task, each.labels.seed) for each in self.results})
        scores = np.array(
            [[self._score(method, task, seed) for method in self.methods] for task, seed in blocks]
        )
        # A block counts if it has every method; a method that misses more than half the blocks is left out.
        kept = np.isfinite(scores).mean(axis=0) > 0.5
        whole = np.isfinite(scores[:, kept]).all(axis=1)
        methods = [method for method, there in zip(self.methods, kept, strict=True) if there]
        return methods, rank(scores[whole][:, kept])

    def _score(self, method: Method, task: Task, seed: int) -> float:
        result = self._by_cell.get((method, task, seed))
        return math.nan if result is None else result.score

    def of_methods(self) -> list[MethodSummary]:
        """Every method on every task that it was run on."""
        return [
            _summarize(method, task, found)
            for task in self.tasks
            for method in self.methods
            if (found := self.of(method, task))
        ]


def _difference(pairs: Sequence[tuple[CellResult, CellResult]], comparisons: int) -> Difference:
    by_task = defaultdict(list)
    for result, counterpart in pairs:
        difference = result.score - counterpart.score
        if math.isfinite(difference):
            by_task[result.labels.task].append(difference)
    return compare(by_task.values(), comparisons)


def _relative_time(pairs: Sequence[tuple[CellResult, CellResult]]) -> float:
    ratios = [_seconds(one) / _seconds(other) for one, other in pairs if _seconds(other) > 0]
    return median(ratios) if ratios else math.nan


def _seconds(result: CellResult) -> float:
    return result.training_s + result.measuring_s


def _summarize(method: Method, task: Task, results: Sequence[CellResult]) -> MethodSummary:
    scores = [each.score for each in results if math.isfinite(each.score)]
    seconds = sum(map(_seconds, results))
    lost = [
        value
        for each in results
        if each.failure is None and math.isfinite(value := overtuning(list(map(_tested, each.incumbents))))
    ]
    return MethodSummary(
        method=method,
        task=task,
        cells=len(results),
        untested=len(results) - len(scores),
        failed=sum(each.failure is not None for each in results),
        failed_retrainings=sum(each.failed_retrainings for each in results),
        accuracy=mean(scores) if scores else math.nan,
        deviation=stdev(scores) if len(scores) > 1 else math.nan,
        spent=mean(each.spent for each in results),
        configurations=mean(sum(each.trials.values()) for each in results),
        seconds=seconds / len(results),
        measuring=sum(each.measuring_s for each in results) / seconds if seconds else math.nan,
        overtuning=mean(lost) if lost else math.nan,
        overtuned=mean(each > 0 for each in lost) if lost else math.nan,
        known=len(lost),
    )


def _tested(incumbent: Incumbent) -> float:
    return mean(incumbent.test_accuracy) if incumbent.test_accuracy else math.nan
