"""What a replay gave."""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import optuna
from optuna.trial import FrozenTrial, TrialState

from hpo_gn.comparison.result import CellResult, Incumbent, Labels
from hpo_gn.errors import StudyError
from hpo_gn.experiment import Experiment
from hpo_gn.fidelity import epochs_of
from hpo_gn.history import History
from hpo_gn.judging import choose, completed, values_of
from hpo_gn.recorded.table import RecordedRun, RecordedTable

RECORDED_RUN = "hpo_gn:recorded_run"
"""Trial attribute of a replay: the number of the recorded run that stood for its configuration."""


@dataclass(frozen=True)
class Moment:
    """When a trial of a replay ended.

    Args:
        trial: its number.
        spent: GPU×epochs of the search by then.
        seconds: of training and measuring by then, over all workers.
    """

    trial: int
    spent: float
    seconds: float


@dataclass(frozen=True)
class Replayed:
    """A search that looked its trainings up.

    Args:
        experiment: what was searched.
        table: where.
        study: as a search leaves it, in memory. Its trials have the proposed parameters; whose History they
            have says `RECORDED_RUN`.
        budget: in GPU×epochs.
        spent: of it, measuring included where it is charged.
        training_s, measuring_s: seconds over all workers.
        seconds: that the workers would have taken side by side, each round waiting for its last trial.
        moments: when each trial ended, in that order.
    """

    experiment: Experiment
    table: RecordedTable
    study: optuna.Study = field(repr=False)
    budget: int
    spent: float
    training_s: float
    measuring_s: float
    seconds: float
    moments: tuple[Moment, ...] = field(repr=False)

    @property
    def chosen(self) -> RecordedRun:
        """The run that the objective chooses in the end.

        Raises:
            StudyError: no trial was completed.
        """
        return self._run(choose(self.experiment.objective, self.study.get_trials(deepcopy=False)))

    @cached_property
    def incumbents(self) -> tuple[Incumbent, ...]:
        """The best run from each moment on at which it changed: what the objective would have chosen among
        the trials that had ended by then.
        """
        found: list[Incumbent] = []
        for moment, trial, value in self._best():
            if not found or found[-1].trial != trial.number:
                found.append(self._incumbent(moment, trial, value))
        return tuple(found)

    def result(self, labels: Labels) -> CellResult:
        """The replay as a cell of a comparison. The winner's parameters are those that were trained, its
        recorded run's.

        Chance is the share of the training set's most frequent class, where the table has it, else NaN.
        """
        trials = self.study.get_trials(deepcopy=False)
        try:
            winner, failure = self.chosen, None
        except StudyError as error:
            winner, failure = None, str(error)
        return CellResult(
            labels=labels,
            replayed=True,
            budget=self.budget,
            spent=self.spent,
            training_s=self.training_s,
            measuring_s=self.measuring_s,
            trials=dict(sorted(Counter(trial.state.name.lower() for trial in trials).items())),
            incumbents=self.incumbents,
            params={} if winner is None else winner.params,
            test_accuracy=() if winner is None else winner.test_accuracy,
            test_loss=() if winner is None else winner.test_loss,
            failed_retrainings=0 if winner is None else winner.failed_retrainings,
            chance=self._chance,
            failure=failure,
        )

    @property
    def _chance(self) -> float:
        rows = (run.history.rows[-1] for run in self.table.runs if run.history.rows)
        return next((row["train_majority"] for row in rows if "train_majority" in row), math.nan)

    @cached_property
    def _runs(self) -> dict[int, RecordedRun]:
        return {run.number: run for run in self.table.runs}

    def _run(self, trial: FrozenTrial) -> RecordedRun:
        return self._runs[trial.user_attrs[RECORDED_RUN]]

    def _best(self) -> Iterator[tuple[Moment, FrozenTrial, float]]:
        """After each completed trial the best one so far, and its value among those there were."""
        trials = self.study.get_trials(deepcopy=False)
        histories: dict[int, History] = {}
        ended: list[FrozenTrial] = []
        for moment in self.moments:
            trial = trials[moment.trial]
            ended.append(trial)
            if trial.state != TrialState.COMPLETE:
                continue
            epochs = epochs_of(trial, self.experiment.epochs)
            histories[trial.number] = self._run(trial).history.upto(epochs)
            candidates = completed(ended)
            values = values_of(self.experiment.objective, [histories[each.number] for each in candidates])
            value, best = min(
                zip(values, candidates, strict=True), key=lambda pair: (pair[0], pair[1].number)
            )
            yield moment, best, value

    def _incumbent(self, moment: Moment, trial: FrozenTrial, value: float) -> Incumbent:
        run = self._run(trial)
        row = run.history.rows[epochs_of(trial, self.experiment.epochs) - 1]
        return Incumbent(
            trial=trial.number,
            epochs=moment.spent,
            seconds=moment.seconds,
            value=value,
            val_loss=row.get("val_loss", math.nan),
            val_accuracy=row.get("val_accuracy", math.nan),
            test_accuracy=run.test_accuracy,
        )
