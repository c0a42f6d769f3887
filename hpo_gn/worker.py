"""A worker: claims trials of a study, runs them and proposes new ones until there is nothing more to do."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import optuna
import torch
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.trial import FrozenTrial

from hpo_gn.budget import Ledger
from hpo_gn.checkpoint import Checkpoints
from hpo_gn.data import Splits
from hpo_gn.errors import BudgetExhaustedError, DataError, HoldClosedError, StorageError
from hpo_gn.experiment import TESTED, Experiment
from hpo_gn.fidelity import continues, epochs_of
from hpo_gn.history import History
from hpo_gn.measures import Measure, Samples, Split
from hpo_gn.rounds import Claim, Rounds, Rules
from hpo_gn.seeds import derive_seed
from hpo_gn.storage import Absence, open_storage
from hpo_gn.training import Training
from hpo_gn.trial import TrialInterruptedError, TrialRun, find_start

FINGERPRINT = "hpo_gn:fingerprint"
"""Study attribute: the SHA-256 of the data that the study's trials are trained and judged on."""
SEED = "hpo_gn:seed"
"""Attribute of a retraining: its seed."""

_OPENING_PATIENCE_S = 10.0
_PAUSE_S = 1.0

Interrupted = Callable[[], bool]
"""Asked after every epoch: whether the worker shall stop."""


@dataclass(frozen=True)
class Place:
    """Where a study is.

    Args:
        storage: the database's URL.
        study: the study's name.
        checkpoints: its trials' checkpoints.
        lease_s: seconds after which a silent worker counts as dead.
    """

    storage: str = field(repr=False)  # its password is nowhere shown
    study: str
    checkpoints: Checkpoints
    lease_s: float = 60.0


@dataclass(frozen=True)
class Worker:
    """Runs the trials of a search, or of the retraining that follows it.

    Args:
        experiment: what is searched.
        place: where the study is.
        device: where to train.
        retraining: the study's trials are the final trainings, on the full training set.
        owner: the name its holds go by.
    """

    experiment: Experiment
    place: Place
    device: torch.device
    retraining: bool = False
    owner: str | None = None

    def run(self, interrupted: Interrupted = lambda: False) -> None:
        """Work until the search is over or `interrupted` says so.

        Raises:
            HpoGnError: the search cannot go on, for a reason that the user can mend.
        """
        with self.open() as desk:
            while not interrupted():
                if not desk.patiently(lambda: desk.step(interrupted)):
                    return

    @contextmanager
    def open(self) -> Iterator["Desk"]:
        """The study and its ledger, closed on leaving."""
        ledger = Ledger(self.place.storage, self.place.study, lease_s=self.place.lease_s, owner=self.owner)
        storage = self._storage()
        try:
            yield Desk(self, ledger, storage)
        finally:
            ledger.close()
            storage.remove_session()

    def _storage(self) -> optuna.storages.RDBStorage:
        """Optuna's storage, waited for a little: the ledger in the same database has just been opened."""
        end = time.monotonic() + _OPENING_PATIENCE_S
        while True:
            try:
                return open_storage(self.place.storage)
            except StorageError:
                if time.monotonic() > end:
                    raise
            time.sleep(_PAUSE_S)


class Desk:
    """What one worker has open: the study, its rounds and, once it runs a trial, the data on its device.

    Args:
        worker: whose it is.
        ledger: the study's.
        storage: Optuna's.
    """

    def __init__(self, worker: Worker, ledger: Ledger, storage: optuna.storages.BaseStorage) -> None:
        self.experiment, self._retraining, self._device = worker.experiment, worker.retraining, worker.device
        self._checkpoints = worker.place.checkpoints
        # Two views of one study: making an Optuna Trial calls its sampler's before_trial, which is the
        # proposer's business alone.
        sampler = optuna.samplers.RandomSampler() if self._retraining else self.experiment.sampler()
        proposing = optuna.load_study(study_name=worker.place.study, storage=storage, sampler=sampler)
        self.study = optuna.load_study(
            study_name=worker.place.study,
            storage=storage,
            sampler=optuna.samplers.RandomSampler(),
            pruner=optuna.pruners.NopPruner() if self._retraining else self.experiment.stopping(),
        )
        self.rounds = Rounds(
            proposing,
            ledger,
            self._rules(),
            self._remaining,
            self.experiment.gpus,
            charge_measures=self.experiment.charge == "measures" and not self._retraining,
        )
        self._absence = Absence()

    def _rules(self) -> Rules | None:
        if self._retraining:
            return None
        experiment = self.experiment
        return Rules(
            experiment.distributions,
            experiment.epochs,
            experiment.round_size,
            experiment.from_scratch,
        )

    def step(self, interrupted: Interrupted) -> bool:
        """Run a trial that is free, else propose a round if it is time to, else wait a little; False when
        there is nothing more to do.
        """
        if claim := self.rounds.claim():
            self.run(claim, interrupted)
            return True
        return self.rounds.advance()

    def patiently(self, step: Callable[[], bool]) -> bool:
        """What a step gives; True, to try again, while Optuna's storage is away, as when its server restarts.

        Raises:
            StorageError: it has been away for more than a minute.
        """
        try:
            more = step()
        except StorageInternalError as error:
            self._absence.bear(error)
            return True
        self._absence = Absence()
        return more

    def run(self, claim: Claim, interrupted: Interrupted = lambda: False) -> None:
        """Run a claimed trial and tell its outcome; an exception of the user's own code fails the trial and
        nothing else.
        """
        frozen = claim.trial
        epochs = epochs_of(frozen, self.experiment.epochs)
        try:
            with claim.hold as hold:
                start = find_start(frozen, self._parent(frozen), self._checkpoints, epochs)
                trial = optuna.Trial(self.study, frozen._trial_id)
                outcome = self._trial_run(interrupted)(trial, hold, start, epochs)
                hold.confirm()
                self.rounds.tell(frozen, outcome)
        except (HoldClosedError, TrialInterruptedError, UpdateFinishedTrialError, BudgetExhaustedError):
            # A checkpoint that vanished since the hold was made leaves more epochs than are held.
            return  # the trial goes on elsewhere, or another time, or was ended by whoever took it over

    def _trial_run(self, interrupted: Interrupted) -> TrialRun:
        return TrialRun(
            build=self._build,
            splits=self._splits,
            measures=self._measures(),
            objective=_test_error if self._retraining else self.experiment.objective,
            checkpoints=self._checkpoints,
            interrupted=interrupted,
        )

    @cached_property
    def _data(self) -> Splits:
        data = self.experiment.splits("full" if self._retraining else "search", self._device)
        known = self.study.user_attrs.get(FINGERPRINT, data.fingerprint)
        if data.fingerprint != known:
            raise DataError(
                f"this worker's data are not those of study {self.study.study_name!r}: "
                f"fingerprint {data.fingerprint[:12]} is not {known[:12]}"
            )
        return data

    @cached_property
    def _splits(self) -> Mapping[Split, Samples]:
        named: dict[Split, Any] = {
            "train": self._data.train,
            "validation": self._data.validation,
            "test": self._data.test,
        }
        return {name: split for name, split in named.items() if split is not None}

    def _remaining(self, trial: FrozenTrial) -> int:
        """Epochs that a trial has still to run."""
        epochs = epochs_of(trial, self.experiment.epochs)
        return epochs - find_start(trial, self._parent(trial), self._checkpoints, epochs).epoch

    def _parent(self, trial: FrozenTrial) -> FrozenTrial | None:
        number = None if self.experiment.from_scratch else continues(trial)
        return None if number is None else self.study.get_trials(deepcopy=False)[number]

    def _build(self, trial: optuna.Trial) -> Training:
        return self.experiment.build(
            trial.params, self._data, epochs=self.experiment.epochs, seed=self._seed(trial)
        )

    def _seed(self, trial: optuna.Trial) -> int:
        """A promoted configuration keeps the seed of its first rung, so that it is one training, continued or
        not.
        """
        if SEED in trial.user_attrs:
            return int(trial.user_attrs[SEED])
        number, parent = trial.number, continues(trial)
        while parent is not None:
            number = parent
            parent = continues(self.study.get_trials(deepcopy=False)[number])
        return derive_seed(self.experiment.seed, number)

    def _measures(self) -> Callable[[Training, int], Sequence[Measure]]:
        """What to measure of one trial's training, chosen once: which measures its model has takes passes."""
        if self._retraining:
            return lambda _, epoch: TESTED if epoch == self.experiment.epochs else ()
        chosen: list[Measure] = []

        def measures(training: Training, _: int) -> Sequence[Measure]:
            if not chosen:
                chosen.extend(self.experiment.measures(training, self._data))
            return chosen

        return measures


def _test_error(history: History) -> float | None:
    row = history.rows[-1]
    return 1.0 - row["test_accuracy"] if "test_accuracy" in row else None
