"""The contract of an objective."""

from typing import Protocol, runtime_checkable

from hpo_gn.history import History
from hpo_gn.measures import Measure


@runtime_checkable
class Objective(Protocol):
    """A pure function of a trial's History; lower is better. Ours are frozen dataclasses."""

    @property
    def measures(self) -> tuple[Measure, ...]:
        """What must be recorded at each epoch for it."""

    def __call__(self, history: History) -> float:
        """The objective's value after the history's last epoch."""
