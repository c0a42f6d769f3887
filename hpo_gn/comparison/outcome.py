"""What one cell of a comparison gives: its search, run or continued, as a result."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import optuna
import torch
from optuna.trial import FrozenTrial

from hpo_gn.budget import Ledger, TrialEntry
from hpo_gn.comparison.cells import Cell
from hpo_gn.comparison.incumbents import Price, find_incumbents, moments_of
from hpo_gn.comparison.result import CellResult, Incumbent
from hpo_gn.errors import (
    ArgumentError,
    BudgetError,
    CheckpointError,
    DataError,
    HpoGnError,
    StorageError,
)
from hpo_gn.experiment import Experiment
from hpo_gn.failures import describe
from hpo_gn.file_store import as_component
from hpo_gn.result import Result, Retrained
from hpo_gn.search import search
from hpo_gn.storage import open_storage, patiently

NOT_THE_CELLS = (ArgumentError, BudgetError, CheckpointError, DataError, StorageError)
"""Errors that say nothing of the method: the cell is to be run again."""


def folder_of(cell: Cell, output: Path) -> Path:
    """The folder of a cell's winner."""
    return output.joinpath("cells", *map(as_component, cell.name.split("/")))


def run_cell(
    cell: Cell,
    study: str,
    *,
    budget: int,
    retrainings: int,
    storage: str,
    output: Path,
    device: str,
    checkpoints: str | None = None,
    lease_s: float = 60.0,
) -> CellResult:
    """Run a cell's search, or continue it, with one worker, and give its result. A method that fails by
    itself is a result too.

    Args:
        cell: the cell.
        study: the name of its study.
        budget: in GPU×epochs.
        retrainings: of the winner.
        storage: URL of the database.
        output: folder of the comparison.
        device, checkpoints, lease_s: as of `search`.

    Raises:
        HpoGnError: something that is not the method's fault, and that the caller can mend.
        KeyboardInterrupt: after Ctrl-C.
    """
    found, failure = None, None
    try:
        found = search(
            cell.experiment,
            budget=budget,
            workers=1,
            device=device,
            storage=storage,
            study=study,
            output=folder_of(cell, output),
            checkpoints=checkpoints,
            seeds=retrainings,
            compare_initial=False,
            lease_s=lease_s,
        )
    except NOT_THE_CELLS:
        raise
    except HpoGnError as error:
        failure = str(error)
    except Exception as error:
        failure = describe(error)
    trials = patiently(lambda: _trials(storage, study))
    return _result(cell, budget, trials, _entries(storage, study), found, failure)


def chance_of(experiment: Experiment) -> float:
    """The share of the test set that has its most frequent class."""
    test = experiment.splits("full", torch.device("cpu")).test
    assert test is not None
    return float(test.targets.bincount().max()) / len(test)


def _result(
    cell: Cell,
    budget: int,
    trials: Sequence[FrozenTrial],
    entries: Sequence[TrialEntry],
    found: Result | None,
    failure: str | None,
) -> CellResult:
    winner = None if found is None else found.winner
    states = Counter(trial.state.name.lower() for trial in trials)
    return CellResult(
        labels=cell.labels,
        replayed=False,
        budget=budget,
        spent=sum(entry.spent for entry in entries),
        training_s=round(sum(entry.training_s for entry in entries), 3),
        measuring_s=round(sum(entry.measuring_s for entry in entries), 3),
        trials=dict(sorted(states.items())),
        incumbents=_incumbents(cell.experiment, trials, entries, winner),
        params=winner.params if winner else {},
        test_accuracy=winner.test_accuracy if winner else (),
        test_loss=winner.test_loss if winner else (),
        failed_retrainings=len(winner.failures) if winner else 0,
        chance=chance_of(cell.experiment),
        failure=failure,
    )


def _incumbents(
    experiment: Experiment,
    trials: Sequence[FrozenTrial],
    entries: Sequence[TrialEntry],
    winner: Retrained | None,
) -> tuple[Incumbent, ...]:
    prices = {entry.trial: Price(entry.spent, entry.training_s + entry.measuring_s) for entry in entries}
    moments = moments_of((trial.number for trial in trials), prices)
    incumbents = find_incumbents(experiment.objective, trials, moments)
    if winner is None or not incumbents:
        return incumbents
    return (*incumbents[:-1], replace(incumbents[-1], test_accuracy=winner.test_accuracy))


def _trials(storage: str, study: str) -> list[FrozenTrial]:
    opened = open_storage(storage)
    try:
        return optuna.load_study(study_name=study, storage=opened).get_trials(deepcopy=False)
    finally:
        opened.remove_session()
        opened.engine.dispose()


def _entries(storage: str, study: str) -> Sequence[TrialEntry]:
    """What each trial cost; nothing where the search failed before it had an account."""
    try:
        ledger = Ledger.open_existing(storage, study)
    except StorageError:
        return ()
    try:
        return ledger.statement().trials
    finally:
        ledger.close()
