"""Which configuration was the best, from which moment of a search on."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from hpo_gn.comparison.result import Incumbent
from hpo_gn.fidelity import epochs_of
from hpo_gn.history import History
from hpo_gn.judging import values_of
from hpo_gn.objectives import Objective, RelativeObjective


@dataclass(frozen=True)
class Price:
    """What one trial cost.

    Args:
        epochs: GPU×epochs charged, measuring included where it is charged.
        seconds: of training and measuring.
    """

    epochs: float
    seconds: float


def find_incumbents(
    objective: Objective, trials: Iterable[FrozenTrial], prices: Mapping[int, Price]
) -> tuple[Incumbent, ...]:
    """The best configurations in the order in which they became the best; the last is the winner.

    Trials count as finished in the order of their numbers, which no number of workers changes. As for the
    winner, those with the most epochs so far are compared, the earliest of equals is the best, and an
    objective that compares trials is asked anew whenever one is completed.

    Args:
        objective: the search's.
        trials: all that it ran.
        prices: of each trial by its number; one that is missing cost nothing.
    """
    judge = _Judge(objective)
    found: list[Incumbent] = []
    epochs = seconds = 0.0
    for trial in sorted(trials, key=lambda trial: trial.number):
        price = prices.get(trial.number, Price(0, 0))
        epochs, seconds = epochs + price.epochs, seconds + price.seconds
        if trial.state != TrialState.COMPLETE:
            continue
        best, value, history = judge.add(trial)
        if not found or found[-1].trial != best:
            loss, accuracy = history.last("val_loss"), history.last("val_accuracy")
            found.append(Incumbent(best, epochs, seconds, value, loss, accuracy))
    return tuple(found)


class _Judge:
    """The best of the completed trials, one more at a time."""

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        self._longest = 0
        self._numbers: list[int] = []
        self._histories: list[History] = []
        self._values: list[float] = []

    def add(self, trial: FrozenTrial) -> tuple[int, float, History]:
        """Take in another; number, value and history of the best."""
        epochs = epochs_of(trial, 0)
        if epochs > self._longest:
            self._longest = epochs
            self._numbers, self._histories, self._values = [], [], []
        if epochs == self._longest:
            self._numbers.append(trial.number)
            self._histories.append(History.of(trial))
            self._judge()
        best = min(range(len(self._values)), key=lambda index: (self._values[index], self._numbers[index]))
        return self._numbers[best], self._values[best], self._histories[best]

    def _judge(self) -> None:
        if isinstance(self._objective, RelativeObjective):
            self._values = values_of(self._objective, self._histories)
        else:
            self._values.append(self._objective(self._histories[-1]))
