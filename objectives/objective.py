"""The contracts of an objective."""

from collections.abc import Sequence
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


@runtime_checkable
class RelativeObjective(Objective, Protocol):
    """An objective whose value of a trial depends on the trials that it is compared with, such as a rank.

    Called with one history, it gives what a trial is worth on its own: what is reported epoch by epoch and
    becomes the trial's value in the study. The values among all finished trials are computed anew whenever a
    trial has finished, for the searcher and for the choice of the winner.
    """

    def among(self, histories: Sequence[History]) -> Sequence[float]:
        """The value of each of these histories among all of them, in their order; lower is better."""
