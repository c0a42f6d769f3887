"""A study as the page reads it: its trials, their histories, and what they cost, from any storage or none."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hpo_gn.errors import StudyError
from hpo_gn.fidelity import continues, epochs_of
from hpo_gn.history import History
from hpo_gn.judging import values_of
from hpo_gn.objectives import Objective, RelativeObjective
from hpo_gn.recipe import RECIPE, objective_of
from hpo_gn.studies import EXPERIMENT


@dataclass(frozen=True)
class TrialCost:
    """What a trial cost.

    Args:
        epochs: GPU×epochs charged, measuring included where it is charged.
        training_s, measuring_s: seconds; None if nobody recorded them.
    """

    epochs: float
    training_s: float | None = None
    measuring_s: float | None = None

    @property
    def seconds(self) -> float | None:
        """Of both."""
        if self.training_s is None or self.measuring_s is None:
            return None
        return self.training_s + self.measuring_s


@dataclass(frozen=True)
class StudyRead:
    """A study, read once.

    Args:
        name: its name.
        about: the experiment's identity, empty if nobody wrote it.
        recipe: the experiment's recipe; None where the study has none.
        objective: what the search minimized; None where the study does not say it in words of ours.
        sign: −1 where larger values are better, 1 elsewhere.
        trials: all of them.
        given_costs: what trials cost, by number, as the ledger or a record has it.
    """

    name: str
    about: Mapping[str, Any]
    recipe: Mapping[str, Any] | None
    objective: Objective | None
    sign: int
    trials: tuple[FrozenTrial, ...]
    given_costs: Mapping[int, TrialCost] = field(default_factory=dict)

    @classmethod
    def of(cls, study: optuna.Study, costs: Mapping[int, TrialCost] | None = None) -> "StudyRead":
        """Read a study.

        Raises:
            StudyError: it was not made by a search, and none of its trials has a History.
        """
        read = cls(
            name=study.study_name,
            about=study.user_attrs.get(EXPERIMENT) or {},
            recipe=study.user_attrs.get(RECIPE),
            objective=objective_of(study),
            sign=-1 if study.directions[0] == StudyDirection.MAXIMIZE else 1,
            trials=tuple(study.get_trials(deepcopy=False)),
            given_costs=costs or {},
        )
        if not read.about and not any(map(len, read.histories.values())):
            raise StudyError(f"study {read.name!r} has no History: hpo_gn trained none of its trials")
        return read

    @cached_property
    def histories(self) -> dict[int, History]:
        """Each trial's, by number."""
        return {trial.number: History.of(trial) for trial in self.trials}

    @cached_property
    def finished(self) -> tuple[FrozenTrial, ...]:
        """The trials that have ended, in the order in which they did."""
        done = [trial for trial in self.trials if trial.state.is_finished()]
        return tuple(sorted(done, key=lambda trial: (_ended(trial), trial.number)))

    @cached_property
    def judged(self) -> tuple[FrozenTrial, ...]:
        """The completed trials with the most epochs and a History: those that a winner is chosen from."""
        done = [
            trial
            for trial in self.trials
            if trial.state == TrialState.COMPLETE and len(self.histories[trial.number])
        ]
        longest = max((self.epochs(trial) for trial in done), default=0)
        return tuple(trial for trial in done if self.epochs(trial) == longest)

    @property
    def objective_name(self) -> str:
        """What was minimized, as one would ask for it, e.g. "agn-val(alpha=0.001)"."""
        if self.recipe is None:
            return str(self.about.get("objective") or "the study's objective")
        name, settings = self.recipe["objective"]["name"], self.recipe["objective"]["settings"]
        given = ", ".join(f"{key}={value}" for key, value in settings.items())
        return f"{name}({given})" if given else str(name)

    def epochs(self, trial: FrozenTrial) -> int:
        """Epochs assigned to a trial, or those that it has a History of."""
        return epochs_of(trial, len(self.histories[trial.number]))

    def value(self, trial: FrozenTrial) -> float:
        """A trial's objective, lower is better; NaN where it has none.

        An objective that compares trials has it among those of `judged` alone.
        """
        return self._values.get(trial.number, math.nan)

    @cached_property
    def _values(self) -> dict[int, float]:
        if isinstance(self.objective, RelativeObjective):
            judged = [self.histories[trial.number] for trial in self.judged]
            values = values_of(self.objective, judged)
            return {trial.number: value for trial, value in zip(self.judged, values, strict=True)}
        return {trial.number: self.sign * trial.values[0] for trial in self.trials if trial.values}

    def last(self, trial: FrozenTrial, column: str) -> float:
        """A measure after a trial's last epoch; NaN where that lacks it."""
        rows = self.histories[trial.number].rows
        return rows[-1].get(column, math.nan) if rows else math.nan

    def agn(self, trial: FrozenTrial) -> float:
        """AGN, the sum over epochs; NaN where it was not recorded at each, by its other name where it was
        gathered in training.
        """
        history = self.histories[trial.number]
        for column in ("agn", "agn_online"):
            values = [row[column] for row in history.rows if column in row]
            if values and len(values) == len(history):
                return sum(values)
        return math.nan

    def trained(self, trial: FrozenTrial) -> int:
        """Epochs that a trial itself trained, without those of the trial that it continues."""
        parent = None if self.about.get("from_scratch") else continues(trial)
        before = 0 if parent is None else len(self.histories.get(parent, History()))
        return max(0, len(self.histories[trial.number]) - before)

    def cost(self, trial: FrozenTrial) -> TrialCost:
        """What a trial cost; where nobody recorded it, the GPU×epochs of the epochs that it trained."""
        unrecorded = TrialCost(self.trained(trial) * self.about.get("gpus", 1))
        return self.given_costs.get(trial.number, unrecorded)


def _ended(trial: FrozenTrial) -> float:
    return trial.datetime_complete.timestamp() if trial.datetime_complete else math.inf
