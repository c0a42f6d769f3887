"""Validation error."""

from dataclasses import dataclass

from hpo_gn.history import History
from hpo_gn.measures import Accuracy, Measure


@dataclass(frozen=True)
class ValError:
    """One minus the validation accuracy at the last epoch, in [0, 1]."""

    @property
    def measures(self) -> tuple[Measure, ...]:
        """What must be recorded."""
        return (Accuracy("validation"),)

    def __call__(self, history: History) -> float:
        """The objective's value."""
        return 1.0 - history.last("val_accuracy")
