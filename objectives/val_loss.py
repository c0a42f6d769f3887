"""Validation loss."""

from dataclasses import dataclass

from hpo_gn.history import History
from hpo_gn.measures import MeanLoss, Measure


@dataclass(frozen=True)
class ValLoss:
    """The mean validation loss at the last epoch."""

    @property
    def measures(self) -> tuple[Measure, ...]:
        """What must be recorded."""
        return (MeanLoss("validation"),)

    def __call__(self, history: History) -> float:
        """The objective's value."""
        return history.last("val_loss")
