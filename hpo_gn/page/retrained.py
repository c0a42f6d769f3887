"""Test results of trials that were retrained on the full training set, paired by seed."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import mean, stdev

import optuna
from optuna.trial import TrialState
from scipy.stats import t as student

from hpo_gn.history import History
from hpo_gn.result import CONFIDENCE
from hpo_gn.retraining import INDEX, ROLE, retraining_name


@dataclass(frozen=True)
class Retests:
    """Test accuracies of one configuration.

    Args:
        accuracies: by the seed's index, in [0, 1].
        failures: how many retrainings failed.
        unfinished: how many have not ended.
    """

    accuracies: Mapping[int, float] = field(default_factory=dict)
    failures: int = 0
    unfinished: int = 0

    @property
    def over(self) -> bool:
        """Whether every retraining has ended."""
        return not self.unfinished and bool(self.accuracies or self.failures)


@dataclass(frozen=True)
class Paired:
    """One configuration's test accuracy minus another's, over the seeds of both.

    Args:
        differences: one a seed.
        confidence: of the interval.
    """

    differences: tuple[float, ...]
    confidence: float = CONFIDENCE

    @property
    def mean(self) -> float:
        """Of the differences."""
        return mean(self.differences)

    @property
    def interval(self) -> tuple[float, float]:
        """Of Student's t for paired samples; two of them at least are needed."""
        n = len(self.differences)
        half = student.ppf((1 + self.confidence) / 2, n - 1) * stdev(self.differences) / math.sqrt(n)
        return self.mean - half, self.mean + half


def pair(ours: Retests, theirs: Retests, comparisons: int = 1) -> Paired:
    """The differences between two configurations, seed by seed.

    Args:
        ours, theirs: what is subtracted from what.
        comparisons: how many are made together: each interval is as much wider as makes all of them hold
            with 95 % confidence (Bonferroni).
    """
    both = sorted(ours.accuracies.keys() & theirs.accuracies.keys())
    differences = tuple(ours.accuracies[index] - theirs.accuracies[index] for index in both)
    return Paired(differences, 1 - (1 - CONFIDENCE) / max(1, comparisons))


def read_tested(study: optuna.Study, trials: Iterable[int]) -> tuple[dict[int, Retests], Retests | None]:
    """The retrainings of some of a search's trials, from its storage, and of the initial settings.

    Args:
        study: the search's.
        trials: their numbers.
    """
    found: dict[int, Retests] = {}
    initial: Retests | None = None
    for number in trials:
        name = retraining_name(study.study_name, number)
        try:
            retraining = optuna.load_study(study_name=name, storage=study._storage)
        except KeyError:
            continue
        found[number] = _tested(retraining, "winner")
        if initial is None and (other := _tested(retraining, "initial")).over:
            initial = other
    return found, initial


def _tested(retraining: optuna.Study, role: str) -> Retests:
    accuracies: dict[int, float] = {}
    failures = unfinished = 0
    for trial in retraining.get_trials(deepcopy=False):
        if trial.user_attrs.get(ROLE) != role:
            continue
        rows = History.of(trial).rows
        if trial.state == TrialState.COMPLETE and rows and "test_accuracy" in rows[-1]:
            accuracies[int(trial.user_attrs[INDEX])] = rows[-1]["test_accuracy"]
        elif trial.state.is_finished():
            failures += 1
        else:
            unfinished += 1
    return Retests(accuracies, failures, unfinished)
