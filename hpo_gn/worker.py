"""A worker: claims trials of a study, runs them and proposes new ones until there is nothing more to do."""

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import torch
from optuna.trial import FrozenTrial, TrialState

from hpo_gn.budget import Ledger
from hpo_gn.checkpoint import Checkpoints
from hpo_gn.errors import DataError, HoldClosedError, HpoGnError
from hpo_gn.experiment import TESTED, Experiment
from hpo_gn.fidelity import continues, epochs_of
from hpo_gn.history import History
from hpo_gn.measures import Measure, Samples, Split
from hpo_gn.rounds import ERROR, Claim, Rounds, Rules
from hpo_gn.seeds import derive_seed
from hpo_gn.storage import open_storage
from hpo_gn.training import Training
from hpo_gn.trial import Outcome, TrialInterruptedError, TrialRun, find_start

FINGERPRINT = "hpo_gn:fingerprint"
"""Study attribute: the SHA-256 of the data that the study's trials are trained and judged on."""
SEED = "hpo_gn:seed"
"""Attribute of a retraining: its seed."""


@dataclass(frozen=True)
class Place:
    """Where a study is.

    Args:
        storage: the database's URL.
        study: the study's name.
        checkpoints: the folder of its trials' checkpoints.
        lease_s: seconds after which a silent worker counts as dead.
    """

    storage: str
    study: str
    checkpoints: Path
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

    def run(self, interrupted: Callable[[], bool] = lambda: False) -> None:
        """Work until the search is over or `interrupted` says so.

        Raises:
            HpoGnError: the search cannot go on, for a reason that the user can mend.
        """
        ledger = Ledger(self.place.storage, self.place.study, lease_s=self.place.lease_s, owner=self.owner)
        storage = open_storage(self.place.storage)
        try:
            self._work(ledger, storage, interrupted)
        finally:
            ledger.close()
            storage.remove_session()

    def _work(
        self, ledger: Ledger, storage: optuna.storages.BaseStorage, interrupted: Callable[[], bool]
    ) -> None:
        # Two views of one study: making an Optuna Trial calls its sampler's before_trial, which is the
        # proposer's business alone.
        sampler = optuna.samplers.RandomSampler() if self.retraining else self.experiment.sampler()
        proposing = optuna.load_study(study_name=self.place.study, storage=storage, sampler=sampler)
        running = optuna.load_study(
            study_name=self.place.study,
            storage=storage,
            sampler=optuna.samplers.RandomSampler(),
            pruner=optuna.pruners.NopPruner(),
        )
        lane = _Lane(self, running, Checkpoints(self.place.checkpoints), interrupted)
        rounds = Rounds(proposing, ledger, self._rules(), lane.remaining, self.experiment.gpus)
        while not interrupted():
            if claim := rounds.claim():
                lane.run(claim, rounds)
            elif not rounds.advance():
                return

    def _rules(self) -> Rules | None:
        if self.retraining:
            return None
        experiment = self.experiment
        return Rules(
            experiment.distributions,
            experiment.epochs,
            experiment.round_size,
            experiment.from_scratch,
        )


class _Lane:
    """What one worker keeps between trials: the data on its device, and the study."""

    def __init__(
        self, worker: Worker, study: optuna.Study, checkpoints: Checkpoints, interrupted: Callable[[], bool]
    ) -> None:
        self._experiment, self._retraining = worker.experiment, worker.retraining
        self._study, self._checkpoints = study, checkpoints
        self._data = self._experiment.splits("full" if worker.retraining else "search", worker.device)
        if self._data.fingerprint != study.user_attrs.get(FINGERPRINT, self._data.fingerprint):
            raise DataError(
                f"this worker's data are not those of study {study.study_name!r}: "
                f"fingerprint {self._data.fingerprint[:12]} is not {study.user_attrs[FINGERPRINT][:12]}"
            )
        self._run = TrialRun(
            build=self._build,
            splits=self._splits(),
            measures=self._measures,
            objective=_test_error if worker.retraining else worker.experiment.objective,
            checkpoints=checkpoints,
            interrupted=interrupted,
        )

    def remaining(self, trial: FrozenTrial) -> int:
        """Epochs that a trial has still to run."""
        epochs = epochs_of(trial, self._experiment.epochs)
        return epochs - find_start(trial, self._parent(trial), self._checkpoints, epochs).epoch

    def run(self, claim: Claim, rounds: Rounds) -> None:
        """Run a claimed trial and tell its outcome; an exception of the user's own code fails the trial and
        nothing else.
        """
        frozen = claim.trial
        epochs = epochs_of(frozen, self._experiment.epochs)
        try:
            with claim.hold as hold:
                start = find_start(frozen, self._parent(frozen), self._checkpoints, epochs)
                trial = optuna.Trial(self._study, frozen._trial_id)
                outcome = self._outcome(trial, hold, start, epochs)
                hold.confirm()
                rounds.tell(frozen, outcome)
        except (HoldClosedError, TrialInterruptedError):
            return  # the trial goes on elsewhere, or another time

    def _outcome(self, trial: optuna.Trial, *run: Any) -> Outcome:
        try:
            return self._run(trial, *run)
        except (HpoGnError, TrialInterruptedError):
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            trial.set_user_attr(ERROR, reason)
            trial.set_user_attr("hpo_gn:traceback", traceback.format_exc())
            return Outcome(TrialState.FAIL, reason=reason)

    def _parent(self, trial: FrozenTrial) -> FrozenTrial | None:
        number = None if self._experiment.from_scratch else continues(trial)
        return None if number is None else self._study.get_trials(deepcopy=False)[number]

    def _build(self, trial: optuna.Trial) -> Training:
        return self._experiment.build(
            trial.params, self._data, epochs=self._experiment.epochs, seed=self._seed(trial)
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
            parent = continues(self._study.get_trials(deepcopy=False)[number])
        return derive_seed(self._experiment.seed, number)

    def _splits(self) -> Mapping[Split, Samples]:
        named: dict[Split, Any] = {
            "train": self._data.train,
            "validation": self._data.validation,
            "test": self._data.test,
        }
        return {name: split for name, split in named.items() if split is not None}

    def _measures(self, training: Training, epoch: int) -> Sequence[Measure]:
        if not self._retraining:
            return self._experiment.measures(training, self._data)
        return TESTED if epoch == self._experiment.epochs else ()


def _test_error(history: History) -> float | None:
    row = history.rows[-1]
    return 1.0 - row["test_accuracy"] if "test_accuracy" in row else None
