"""Whatever goes wrong in a trial's own code ends that trial, with a reason, and nothing else.

One study holds a trial for each cell of the table WHAT goes wrong × WHERE, in rounds that have a good trial
each, and one worker runs them all. The budget is exact: if a failed trial kept an epoch, the last could not
start.
"""

import errno
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from optuna.trial import FrozenTrial, TrialState

from hpo_gn import History, Ledger
from hpo_gn.budget.statement import Statement
from hpo_gn.checkpoint import Checkpoints
from hpo_gn.database_url import sqlite_url
from hpo_gn.errors import CheckpointError
from hpo_gn.fidelity import EPOCHS, ROUND
from hpo_gn.retraining import find_winner
from hpo_gn.rounds import ROUNDS
from hpo_gn.studies import open_study
from hpo_gn.trial import ERROR, REASON, TRACEBACK
from hpo_gn.worker import Place, Worker
from tests.misbehaving import (
    BEGAN,
    CELLS,
    EPOCHS_EACH,
    GOOD,
    NUMBER,
    RAISED,
    ROUND_SIZE,
    Training,
    experiment,
    raising,
)


def prepare(
    folder: Path, configurations: list[int], limit: int, **changes: Any
) -> tuple[Place, optuna.Study]:
    """A study with a trial of each configuration that waits for a worker."""
    place = Place(sqlite_url(folder / "study.db"), "s", Checkpoints(folder / "checkpoints"))
    study = open_study(place, experiment(**changes))
    for number, configuration in enumerate(configurations):
        trial = optuna.trial.create_trial(
            state=TrialState.RUNNING,
            params={"cell": configuration},
            distributions=experiment().distributions,
            user_attrs={EPOCHS: EPOCHS_EACH, ROUND: 1 + number // ROUND_SIZE},
        )
        study.add_trial(trial)
    study.set_user_attr(ROUNDS, 1)
    Ledger(place.storage, place.study, limit=limit).close()
    return place, study


def work(place: Place, **changes: Any) -> Statement:
    """Let a worker run what there is, and ask the ledger what it cost."""
    ledger = Ledger(place.storage, place.study)
    try:
        Worker(experiment(**changes), place, torch.device("cpu")).run()
    finally:
        statement = ledger.statement()
        ledger.close()
    return statement


@dataclass(frozen=True)
class Ran:
    study: optuna.Study
    trials: list[FrozenTrial]
    statement: Statement

    def of(self, cell: int) -> FrozenTrial:
        return next(trial for trial in self.trials if trial.params["cell"] == cell)

    def spent(self, trial: FrozenTrial) -> float:
        return sum(entry.spent for entry in self.statement.trials if entry.trial == trial.number)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Every cell's trial, and a good one at the end of each round."""
    configurations = []
    for cell in range(len(CELLS)):
        configurations += [GOOD, cell] if len(configurations) % ROUND_SIZE == ROUND_SIZE - 1 else [cell]
    configurations += [GOOD]
    BEGAN.clear()
    needed = sum(EPOCHS_EACH if each == GOOD else CELLS[each].began for each in configurations)
    place, study = prepare(tmp_path_factory.mktemp("cells"), configurations, needed + EPOCHS_EACH - 1)
    statement = work(place)
    return Ran(study, study.get_trials(), statement)


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> FrozenTrial:
    """A good trial of a study in which nothing else happens."""
    place, study = prepare(tmp_path_factory.mktemp("usual"), [GOOD], EPOCHS_EACH)
    work(place)
    return study.get_trials()[0]


def test_there_are_cells_enough() -> None:
    assert len(CELLS) >= 40
    assert len({str(cell) for cell in CELLS}) == len(CELLS)


@pytest.mark.parametrize("number", range(len(CELLS)), ids=[str(cell) for cell in CELLS])
def test_a_bad_trial_ends_with_a_reason_and_gives_back_what_it_did_not_use(ran: Ran, number: int) -> None:
    cell, trial = CELLS[number], ran.of(number)
    pruned = cell.what == "TrialPruned"
    assert trial.state == (TrialState.PRUNED if pruned else TrialState.FAIL)
    reason = trial.user_attrs[REASON]
    assert reason.startswith(cell.reason)
    assert len(reason) <= 300
    assert reason.isprintable()
    diverged = reason.startswith("diverged")
    assert trial.user_attrs.get(ERROR, reason) == reason
    assert (ERROR in trial.user_attrs) == (not pruned and not diverged)
    assert (ran.spent(trial), BEGAN[number]) == (cell.began, cell.began if cell.where != "constructor" else 0)


def test_an_exception_leaves_its_traceback(ran: Ran) -> None:
    cell = next(number for number, cell in enumerate(CELLS) if cell.what == "ValueError")
    assert "ValueError: no\nsuch\tthing" in ran.of(cell).user_attrs[TRACEBACK]
    assert "in deed" in ran.of(cell).user_attrs[TRACEBACK]
    assert all(len(trial.user_attrs.get(TRACEBACK, "")) <= 20_000 for trial in ran.trials)


def test_the_good_trials_among_them_are_as_ever(ran: Ran, usual: FrozenTrial) -> None:
    good = [trial for trial in ran.trials if trial.params["cell"] == GOOD]
    assert len(good) > 10
    for trial in good:
        assert (trial.state, trial.value) == (TrialState.COMPLETE, usual.value)
        assert trial.intermediate_values == usual.intermediate_values
        assert History.of(trial) == History.of(usual)
        assert REASON not in trial.user_attrs
        assert ran.spent(trial) == EPOCHS_EACH


def test_none_of_them_wins(ran: Ran) -> None:
    assert find_winner(ran.study).params["cell"] == GOOD
    assert ran.study.best_trial.params["cell"] == GOOD


def test_nothing_stays_held(ran: Ran) -> None:
    account = ran.statement.account
    assert (account.held, account.spent) == (0, account.limit - EPOCHS_EACH + 1)
    assert len(ran.trials) == len(ran.statement.trials)


def test_ctrl_c_is_the_users(tmp_path: Path) -> None:
    """It stops the worker wherever it comes, and its trial goes on another time."""

    class Stopped(Training):
        times = 0

        def run_epoch(self) -> None:
            super().run_epoch()
            Stopped.times += 1
            if Stopped.times == 2:
                raise KeyboardInterrupt

    place, study = prepare(tmp_path, [GOOD], limit=EPOCHS_EACH + 2, training=Stopped)
    with pytest.raises(KeyboardInterrupt):
        work(place, training=Stopped)
    assert study.get_trials()[0].state == TrialState.RUNNING
    statement = work(place, training=Stopped)
    assert study.get_trials()[0].state == TrialState.COMPLETE
    # The second epoch began twice, and goes on from the first one's checkpoint.
    assert (statement.account.held, statement.account.spent, Stopped.times) == (0, 4, 4)


LOADED = {what: RAISED[what] for what in ("ValueError", "no text", "SystemExit(0)")}


@pytest.mark.parametrize("what", LOADED)
def test_a_state_that_is_not_taken_back_stops_the_search_and_spends_nothing(
    tmp_path: Path, what: str
) -> None:
    """The trainings were changed since; failing trial after trial would spend the budget on it."""
    deed, reason = LOADED[what]
    place, study = prepare(tmp_path, [GOOD], limit=EPOCHS_EACH)
    Worker(experiment(), place, torch.device("cpu")).run(interrupted_after(2))

    class Changed(Training):
        def load_state_dict(self, state: Mapping[str, Any]) -> None:
            deed(state)

    with pytest.raises(CheckpointError) as caught:
        work(place, training=Changed)
    assert str(caught.value) == f"the checkpoint of trial 0 is of another model: {reason}"
    statement = work(place)
    assert (statement.account.spent, statement.account.held) == (EPOCHS_EACH, 0)
    assert study.get_trials()[0].state == TrialState.COMPLETE


def interrupted_after(asked: int) -> Callable[[], bool]:
    """False until it is asked for that many times."""
    times = iter(range(1, asked))
    return lambda: next(times, None) is None


def test_a_checkpoint_that_cannot_be_written_is_warned_of_once_and_the_trial_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search of days must not end because the disk was full for an hour."""
    place, study = prepare(tmp_path, [GOOD], limit=EPOCHS_EACH)
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr("hpo_gn.local_files.LocalFiles.write", raising(full))
    with pytest.warns(UserWarning, match="No space left on device; the trial goes on without") as warned:
        statement = work(place)
    assert len(warned) == 1
    assert re.match(r"checkpoint epoch-1\.pt of trial-0 cannot be written: ", str(warned[0].message))
    assert study.get_trials()[0].state == TrialState.COMPLETE
    assert (statement.account.spent, statement.account.held) == (EPOCHS_EACH, 0)


def test_a_search_in_which_nothing_gives_a_number_stops_after_a_round(tmp_path: Path) -> None:
    cell = next(
        number for number, cell in enumerate(CELLS) if cell.what == "text" and cell.where == "objective"
    )
    place, _ = prepare(tmp_path, [cell, cell], limit=100)
    with pytest.raises(
        Exception, match=f"^every trial of the last round failed, the first with {NUMBER}'low'$"
    ):
        work(place)
