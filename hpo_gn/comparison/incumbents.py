"""Which configuration was the best, from which moment of a search on."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from hpo_gn.comparison.result import Incumbent
from hpo_gn.fidelity import epochs_of
from hpo_gn.history import History
from hpo_gn.judging import values_of
from hpo_gn.objectives import Objective, RelativeObjective


@dataclass(frozen=True)
class Moment:
    """When a trial ended.

    Args:
        trial: its number.
        spent: GPU×epochs of the search by then, measuring included where it is charged.
        seconds: of training and measuring by then, over all workers.
    """

    trial: int
    spent: float
    seconds: float


@dataclass(frozen=True)
class Price:
    """What one trial cost.

    Args:
        epochs: GPU×epochs charged, measuring included where it is charged.
        seconds: of training and measuring.
    """

    epochs: float
    seconds: float


def moments_of(numbers: Iterable[int], prices: Mapping[int, Price]) -> Iterator[Moment]:
    """When trials ended, if they did in the order of their numbers, which no number of workers changes.

    Args:
        numbers: of all trials that a search ran.
        prices: of each trial by its number; one that is missing cost nothing.
    """
    epochs = seconds = 0.0
    for number in sorted(numbers):
        price = prices.get(number, Price(0, 0))
        epochs, seconds = epochs + price.epochs, seconds + price.seconds
        yield Moment(number, epochs, seconds)


def find_incumbents(
    objective: Objective,
    trials: Iterable[FrozenTrial],
    moments: Iterable[Moment],
    history_of: Callable[[FrozenTrial], History] = History.of,
) -> tuple[Incumbent, ...]:
    """The best configurations in the order in which they became the best; the last is the winner.

    As for the winner, those with the most epochs so far are compared, the earliest of equals is the best, and
    an objective that compares trials is asked anew whenever one is completed.

    Args:
        objective: the search's.
        trials: all that it ran.
        moments: when each of them ended, in that order.
        history_of: gives a completed trial's history.
    """
    by_number = {trial.number: trial for trial in trials}
    judge = _Judge(objective)
    found: list[Incumbent] = []
    for moment in moments:
        trial = by_number[moment.trial]
        if trial.state != TrialState.COMPLETE:
            continue
        best, value, history = judge.add(trial, history_of(trial))
        if not found or found[-1].trial != best:
            row = history.rows[-1]
            loss, accuracy = (row.get(name, math.nan) for name in ("val_loss", "val_accuracy"))
            found.append(Incumbent(best, moment.spent, moment.seconds, value, loss, accuracy))
    return tuple(found)


class _Judge:
    """The best of the completed trials, one more at a time."""

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        self._longest = 0
        self._numbers: list[int] = []
        self._histories: list[History] = []
        self._values: list[float] = []

    def add(self, trial: FrozenTrial, history: History) -> tuple[int, float, History]:
        """Take in another; number, value and history of the best."""
        epochs = epochs_of(trial, 0)
        if epochs > self._longest:
            self._longest = epochs
            self._numbers, self._histories, self._values = [], [], []
        if epochs == self._longest:
            self._numbers.append(trial.number)
            self._histories.append(history)
            self._judge()
        best = min(range(len(self._values)), key=lambda index: (self._values[index], self._numbers[index]))
        return self._numbers[best], self._values[best], self._histories[best]

    def _judge(self) -> None:
        if isinstance(self._objective, RelativeObjective):
            self._values = values_of(self._objective, self._histories)
        else:
            self._values.append(self._objective(self._histories[-1]))
