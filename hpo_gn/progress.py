"""What a search shows while it runs: epochs spent, held and left, the round, the best so far, the time
left.
"""

import time
from contextlib import suppress
from types import TracebackType
from typing import Self

import optuna
from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from hpo_gn.budget import Ledger
from hpo_gn.durations import format_clock
from hpo_gn.errors import StorageError
from hpo_gn.fidelity import format_epochs
from hpo_gn.rounds import ROUNDS


class SearchProgress:
    """A live line on a terminal; elsewhere a line whenever a trial has ended.

    Args:
        title: what runs.
        study: whose trials are shown.
        ledger: whose account is shown.
        console: where.
        planned: epochs that are to run, where the account's limit has some to spare and no trial is judged.
    """

    def __init__(
        self, title: str, study: optuna.Study, ledger: Ledger, console: Console, planned: int | None = None
    ) -> None:
        self._title, self._study, self._ledger, self._console = title, study, ledger, console
        self._planned = planned
        self._live = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[epochs]}"),
            TextColumn("{task.fields[trials]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self._began, self._at_first = time.monotonic(), ledger.account().spent
        self._printed = -1, ""
        self._task = self._live.add_task(title, total=None, epochs="", trials="", left="")

    def __enter__(self) -> Self:
        self._live.start()
        self.update()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.update(final=True)
        self._live.stop()

    def update(self, *, final: bool = False) -> None:
        """Show the study and the account as they are now; nothing new while their storage is away."""
        with suppress(StorageInternalError, StorageError):
            self._update(final=final)

    def _update(self, *, final: bool) -> None:
        account = self._ledger.account()
        total = self._planned or account.limit
        left = max(0, total - account.spent - account.held)
        spent, held, rest = (format_epochs(number) for number in (account.spent, account.held, left))
        epochs = f"{spent}/{total} epochs, {held} held, {rest} left"
        trials = self._trials()
        self._live.update(
            self._task,
            total=total,
            completed=account.spent,
            epochs=epochs,
            trials=trials,
            left=self._time_left(account.spent, total),
        )
        if not self._console.is_terminal:
            self._print(f"{self._title}: {epochs}; {trials}", final=final)

    def _print(self, line: str, *, final: bool) -> None:
        """A line for each trial that has ended, and the last word."""
        ended = self._ended()
        if ended != self._printed[0] or (final and line != self._printed[1]):
            self._printed = ended, line
            self._console.print(line, highlight=False, soft_wrap=True)

    def _ended(self) -> int:
        return sum(trial.state.is_finished() for trial in self._study.get_trials(deepcopy=False))

    def _trials(self) -> str:
        trials = self._study.get_trials(deepcopy=False)
        ended = [trial for trial in trials if trial.state.is_finished()]
        if self._planned:
            return f"{len(ended)}/{len(trials)} models"
        rounds = self._study.user_attrs.get(ROUNDS, 0)
        best = min((trial for trial in ended if _completed(trial)), key=_value, default=None)
        shown = f"; best {_value(best):.4g} (trial {best.number})" if best else ""
        lost = sum(trial.state == TrialState.FAIL for trial in ended)
        failed = f", {lost} failed" if lost else ""
        stopped = sum(trial.state == TrialState.PRUNED for trial in ended)
        given_up = f", {stopped} given up" if stopped else ""
        return f"round {rounds}, {len(ended)}/{len(trials)} trials{failed}{given_up}{shown}"

    def _time_left(self, spent: float, total: float) -> str:
        done = spent - self._at_first
        if done <= 0 or spent >= total:
            return ""
        seconds = (time.monotonic() - self._began) / done * (total - spent)
        return f"about {format_clock(seconds)} to go"


def _completed(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.COMPLETE


def _value(trial: FrozenTrial) -> float:
    return float(trial.value) if trial.value is not None else float("nan")
