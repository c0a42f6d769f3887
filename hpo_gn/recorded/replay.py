"""A search without its trainings: they are looked up in a recorded table."""

import heapq
import json
import math
from typing import cast

import optuna
from optuna.samplers import RandomSampler
from optuna.trial import FrozenTrial, TrialState

from hpo_gn.books import Books
from hpo_gn.budget.arguments import checked_integer
from hpo_gn.comparison.incumbents import Moment
from hpo_gn.errors import DataError
from hpo_gn.experiment import Experiment
from hpo_gn.failures import DIVERGED, TrialFailedError, as_number, users_code
from hpo_gn.fidelity import continues, epochs_of, format_epochs
from hpo_gn.history import History
from hpo_gn.paper_books import PaperBooks, PaperHold, paper_study
from hpo_gn.recorded.nearest import NearestRuns
from hpo_gn.recorded.needs import Needs, check_table
from hpo_gn.recorded.replayed import RECORDED_RUN, Replayed
from hpo_gn.recorded.table import RecordedRun, RecordedTable
from hpo_gn.rounds import Claim, Rounds, Rules
from hpo_gn.search import check_budget
from hpo_gn.studies import EXPERIMENT, default_name
from hpo_gn.trial import ERROR, Outcome, judge
from hpo_gn.worker import FINGERPRINT


def replay(experiment: Experiment, table: RecordedTable, *, budget: int, workers: int = 1) -> Replayed:
    """Search without training anything: each proposed configuration is taken for the nearest recorded run
    that this search has not met (`NearestRuns`).

    All else is a search's own: the code that proposes rounds, the searcher, the pruner and its shadows, the
    objective at every epoch, and the ledger's arithmetic. A promoted configuration goes on in the run that it
    began with. Epochs that a run does not use, given up or diverged, become more configurations. A run that
    diverged when it was recorded does so here at the same epoch, whatever the objective says. The seed is the
    searcher's and the shadows': the runs keep the data splits and the weights that they were recorded with.

    A search measures more than its objective needs, so that others can be computed later, and pays for it
    where measuring is charged. A replay pays, and takes time, only for the passes over splits that its own
    objective and pruner need (`Needs.measuring_s`).

    Args:
        experiment: what is searched, of the table's space, data, model and epochs.
        table: the recorded runs.
        budget: in GPU×epochs.
        workers: how many would work at once; it changes the elapsed time and nothing else.

    Raises:
        ArgumentError: a number below 1, or a budget that does not pay for one trial.
        DataError: the table is empty, of another experiment, lacks what the objective or the pruner reads or
            the seconds that are charged, or has too few runs for the budget.
    """
    checked_integer("budget", budget)
    checked_integer("workers", workers)
    return _Replay(experiment, table, budget, workers).finish()


class _Replay:
    """One replay under way."""

    def __init__(self, experiment: Experiment, table: RecordedTable, budget: int, workers: int) -> None:
        check_table(experiment, table)
        self._needs = Needs.of(experiment)
        self._needs.check(experiment, table)
        self._experiment, self._table, self._budget = experiment, table, budget
        self._workers = workers
        self._charges = experiment.charge == "measures"
        self._nearest = NearestRuns(table)
        self._runs: dict[int, RecordedRun] = {}
        self._books = PaperBooks(budget)
        proposing = paper_study(experiment.sampler(), f"{default_name(experiment)}-{experiment.seed}")
        proposing.set_user_attr(EXPERIMENT, json.loads(json.dumps(experiment.identity())))
        proposing.set_user_attr(FINGERPRINT, table.header.get("fingerprint"))
        # Making an Optuna Trial calls its sampler's before_trial, which is the proposer's business alone.
        self._study = optuna.load_study(
            study_name=proposing.study_name,
            storage=proposing._storage,
            sampler=RandomSampler(),
            pruner=experiment.stopping(),
        )
        rules = Rules(
            experiment.distributions, experiment.epochs, experiment.round_size, experiment.from_scratch
        )
        self._queue = Rounds(
            proposing, cast(Books, self._books), rules, self._remaining, experiment.gpus, self._charges
        )
        self._moments: list[Moment] = []

    def finish(self) -> Replayed:
        """Run rounds until the budget is spent."""
        elapsed_s = 0.0
        while self._queue.advance():
            elapsed_s += self._run_round()
        if not self._moments:
            check_budget(self._experiment, self._budget)
        return Replayed(
            experiment=self._experiment,
            table=self._table,
            study=self._study,
            budget=self._budget,
            spent=self._books.account().spent,
            training_s=self._books.training_s,
            measuring_s=self._books.measuring_s,
            seconds=elapsed_s,
            moments=tuple(self._moments),
        )

    def _run_round(self) -> float:
        """Run what was proposed; the seconds until the last worker has finished."""
        busy = [0.0] * self._workers
        while claim := self._queue.claim():
            before = sum(self._books.seconds())
            self._run(claim)
            after = sum(self._books.seconds())
            heapq.heapreplace(busy, busy[0] + after - before)
            self._moments.append(Moment(claim.trial.number, self._books.account().spent, after))
        return max(busy)

    def _run(self, claim: Claim) -> None:
        trial = optuna.Trial(self._study, claim.trial._trial_id)
        hold = cast(PaperHold, claim.hold)
        run = self._run_of(claim.trial)
        trial.set_user_attr(RECORDED_RUN, run.number)
        try:
            outcome = self._follow(trial, hold, run, self._begun(claim.trial))
        except TrialFailedError as error:
            trial.set_user_attr(ERROR, error.reason)
            outcome = Outcome(TrialState.FAIL, reason=error.reason)
        if outcome.diverged is not None:
            trial.set_user_attr(DIVERGED, outcome.diverged)
        hold.settle()
        self._queue.tell(claim.trial, outcome)

    def _follow(self, trial: optuna.Trial, hold: PaperHold, run: RecordedRun, begun: int) -> Outcome:
        """What a worker does with a trial, see `hpo_gn.trial`."""
        epochs = epochs_of(trial, self._experiment.epochs)
        for epoch in range(1, begun + 1):
            _write_row(trial, run, epoch)
        value = None
        for epoch in range(begun + 1, epochs + 1):
            hold.charge()
            if epoch <= len(run.history):
                training_s, measuring_s = self._seconds(run, epoch)
                hold.record(training_s=training_s, measuring_s=measuring_s)
                _write_row(trial, run, epoch)
                history = run.history.upto(epoch)
                value = self._value(history)
                if outcome := judge(trial, history, value, epochs):
                    return outcome
            if not run.completed and epoch >= run.epochs:
                return Outcome(TrialState.FAIL, reason=run.reason, diverged=epoch)
        return Outcome(TrialState.COMPLETE, as_number(value))

    def _value(self, history: History) -> float | None:
        with users_code():
            value: float | None = self._experiment.objective(history)
            return None if value is None else as_number(value)

    def _seconds(self, run: RecordedRun, epoch: int) -> tuple[float, float]:
        """Of training and of measuring. A ledger knows a run's training in all: each epoch takes as long."""
        training_s = math.nan if run.training_s is None else run.training_s / len(run.history)
        measuring_s = self._needs.measuring_s(run.history.rows[epoch - 1])
        if self._charges and not (math.isfinite(measuring_s) and training_s > 0):
            raise DataError(f"run {run.number} has no seconds, so that measuring cannot be charged")
        return training_s, measuring_s

    def _run_of(self, trial: FrozenTrial) -> RecordedRun:
        parent = continues(trial)
        try:
            run = self._nearest.take(trial.params) if parent is None else self._runs[parent]
        except DataError as error:
            spent = f"{format_epochs(self._books.spent)} of {self._budget} GPU×epochs"
            raise DataError(f"{error} after {spent}: record more, or replay a smaller budget") from None
        self._runs[trial.number] = run
        return run

    def _remaining(self, trial: FrozenTrial) -> int:
        return epochs_of(trial, self._experiment.epochs) - self._begun(trial)

    def _begun(self, trial: FrozenTrial) -> int:
        """Epochs that a trial need not run, since the one that it continues has."""
        number = None if self._experiment.from_scratch else continues(trial)
        if number is None:
            return 0
        parent = self._study.get_trials(deepcopy=False)[number]
        if parent.state == TrialState.COMPLETE:
            return epochs_of(parent, self._experiment.epochs)
        return max(0, len(History.of(parent)) - 1)  # given up before a checkpoint of that epoch was saved


def _write_row(trial: optuna.Trial, run: RecordedRun, epoch: int) -> None:
    for key, value in run.attributes[epoch - 1].items():
        trial.set_user_attr(key, value)
