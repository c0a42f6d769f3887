"""What rounds ask of a ledger: the real one, or one on paper that a plan keeps."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from optuna.trial import FrozenTrial

from hpo_gn.budget import Account, Hold


class Books(Protocol):
    """An account, its open holds, and the turn to propose; see `Ledger`."""

    def account(self) -> Account:
        """The account as it stands."""

    def hold(self, trial: FrozenTrial, *, epochs: int, gpus: int, measuring: float) -> Hold:
        """Set a trial's epochs aside."""

    def open_holds(self) -> Sequence[Mapping[Any, Any]]:
        """The trials' holds that are open."""

    def deaths(self, trial: int) -> int:
        """How many workers died while they held a trial."""

    def turn(self) -> AbstractContextManager[Hold | None]:
        """The turn to propose, None for all but one."""

    def seconds(self) -> tuple[float, float]:
        """Seconds of training and of measuring so far."""
