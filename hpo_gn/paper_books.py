"""A search on paper, for a plan or a replay: a study in memory, and the books that nobody else writes in."""

from collections.abc import Iterator
from contextlib import contextmanager

import optuna
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial

from hpo_gn.budget import Account
from hpo_gn.budget.amounts import plain, rounded_up
from hpo_gn.errors import BudgetExhaustedError


def paper_study(sampler: BaseSampler, name: str | None = None) -> optuna.Study:
    """A study in memory, of which Optuna logs nothing: there may be hundreds."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.create_study(study_name=name, sampler=sampler)
    finally:
        optuna.logging.set_verbosity(verbosity)


class PaperBooks:
    """Holds, charges and settles as `Ledger` does, in memory, where no worker dies and no lease lapses.

    Args:
        limit: in GPU×epochs.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.spent: float = 0
        self.training_s = self.measuring_s = 0.0
        self._open: dict[int, PaperHold] = {}

    def account(self) -> Account:
        """The account as it stands."""
        held = sum(hold.unused for hold in self._open.values())
        return Account(self.limit, plain(held), plain(self.spent))  # type: ignore[arg-type]  # may be a part

    def hold(self, trial: FrozenTrial, *, epochs: int, gpus: int, measuring: float) -> "PaperHold":
        """Set a trial's epochs aside, and with each a share of it for its measures.

        Raises:
            BudgetExhaustedError: the account has not that much left.
        """
        hold = PaperHold(self, trial.number, epochs, gpus, rounded_up(measuring))
        if hold.unused > self.account().left:
            raise BudgetExhaustedError(f"trial {trial.number} does not fit")
        self._open[trial.number] = hold
        return hold

    def close(self, trial: int) -> None:
        """Return what a trial's hold did not use."""
        self._open.pop(trial, None)

    def open_holds(self) -> list[dict[str, int]]:
        """The trials' holds that are open."""
        return [{"trial": trial} for trial in self._open]

    def deaths(self, _trial: int) -> int:
        """None: nobody dies on paper."""
        return 0

    @contextmanager
    def turn(self) -> Iterator["PaperHold"]:
        """The turn to propose, which is always free."""
        yield PaperHold(self, -1, 0, 1, 0.0)

    def seconds(self) -> tuple[float, float]:
        """Seconds of training and of measuring so far."""
        return self.training_s, self.measuring_s


class PaperHold:
    """A hold that nobody can take away.

    Args:
        books: whose it is.
        trial: the trial's number.
        epochs: how many it may charge.
        gpus: what an epoch costs.
        share: what is set aside with each epoch for its measures, 0 where measuring is free of charge.
    """

    def __init__(self, books: PaperBooks, trial: int, epochs: int, gpus: int, share: float) -> None:
        self._books, self._trial, self._gpus, self._share = books, trial, gpus, share
        self._left, self._reserve = epochs, epochs * gpus * share

    @property
    def unused(self) -> float:
        """What it still holds, in GPU×epochs."""
        return self._left * self._gpus + self._reserve

    def charge(self, epochs: int = 1) -> None:
        """Charge epochs before they run.

        Raises:
            BudgetExhaustedError: every epoch of the hold is charged.
        """
        if epochs > self._left:
            raise BudgetExhaustedError(f"all epochs held for trial {self._trial} are charged")
        self._left -= epochs
        self._books.spent += epochs * self._gpus

    def record(self, *, training_s: float, measuring_s: float, epochs: int = 1) -> None:
        """Write down what a charged epoch took, and charge its measures where they are charged: to what was
        set aside for them first, then to what the account has left.

        Args:
            training_s: seconds of training.
            measuring_s: seconds of measuring.
            epochs: how many took so long each.
        """
        self._books.training_s += epochs * training_s
        self._books.measuring_s += epochs * measuring_s
        if not self._share or not measuring_s:
            return
        cost = epochs * rounded_up(measuring_s * self._gpus / training_s)
        paid = min(cost, self._reserve + self._books.account().left)
        self._reserve = max(0.0, self._reserve - paid)
        self._books.spent += paid

    def confirm(self) -> None:
        """Nobody can have taken it over."""

    def settle(self, _reason: str = "finished") -> None:
        """Close the hold and return what it did not use."""
        self._books.close(self._trial)
