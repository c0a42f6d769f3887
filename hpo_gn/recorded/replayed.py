"""What a replay gave."""

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property

import optuna
from optuna.trial import FrozenTrial

from hpo_gn.comparison.incumbents import Moment, find_incumbents
from hpo_gn.comparison.result import CellResult, Incumbent, Labels
from hpo_gn.data import open_data
from hpo_gn.errors import HpoGnError, StudyError
from hpo_gn.experiment import Experiment
from hpo_gn.fidelity import epochs_of
from hpo_gn.history import History
from hpo_gn.judging import choose
from hpo_gn.recorded.table import RecordedRun, RecordedTable

RECORDED_RUN = "hpo_gn:recorded_run"
"""Trial attribute of a replay: the number of the recorded run that stood for its configuration."""


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
        trials = self.study.get_trials(deepcopy=False)
        found = find_incumbents(self.experiment.objective, trials, self.moments, self._history)
        return tuple(
            replace(each, test_accuracy=self._run(trials[each.trial]).test_accuracy) for each in found
        )

    def result(self, labels: Labels) -> CellResult:
        """The replay as a cell of a comparison. The winner's parameters are those that were trained, its
        recorded run's.

        Chance, which is what a failure counts as, is the share of the training set's most frequent class if
        the table has it; else that of each of equally frequent classes if the data set is a registered one,
        which says how many it has; else 0, the worst there is. A winner by a few epochs of BOHB's whose run
        diverged later, as its retraining would have, is a failure.
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
            failed_retrainings=0 if winner is None else _failed(winner),
            chance=self._chance,
            failure=failure,
        )

    @property
    def _chance(self) -> float:
        for run in self.table.runs:
            if run.history.rows and "train_majority" in run.history.rows[-1]:
                return run.history.rows[-1]["train_majority"]
        return _even_share(self.experiment)

    @cached_property
    def _runs(self) -> dict[int, RecordedRun]:
        return {run.number: run for run in self.table.runs}

    def _run(self, trial: FrozenTrial) -> RecordedRun:
        return self._runs[trial.user_attrs[RECORDED_RUN]]

    def _history(self, trial: FrozenTrial) -> History:
        return self._run(trial).history.upto(epochs_of(trial, self.experiment.epochs))


def _failed(winner: RecordedRun) -> int:
    return winner.failed_retrainings if winner.completed or winner.tested else 1


def _even_share(experiment: Experiment) -> float:
    """The share of each class, were all equally frequent; 0 where only reading the data could tell how many
    there are.
    """
    data = experiment.data
    if isinstance(data, str):
        if ":" in data or data.endswith(".npz"):
            return 0.0
        with suppress(HpoGnError):
            return 1 / open_data(data, experiment.data_root).classes
        return 0.0
    return 1 / data.classes
