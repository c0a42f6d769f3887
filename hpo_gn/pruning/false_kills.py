"""How often a pruner was wrong: counted on the shadows, with a bound for all that it gave up."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState
from scipy.stats import binomtest

from hpo_gn.errors import ArgumentError
from hpo_gn.failures import DIVERGED
from hpo_gn.fidelity import epochs_of
from hpo_gn.pruning.shadows import GIVEN_UP

_TELLING = 0.25
_AIM = 0.05


@dataclass(frozen=True)
class FalseKills:
    """What a pruner saved, and how often it was wrong about its shadows.

    The shadows are a random sample of what was given up, so the share of wrong ones among them bounds the
    share among all by Clopper and Pearson's exact binomial limits. The count errs on the safe side: a shadow
    is ranked among trials that were trained to the end, and one that was stopped could only have pushed it
    down.

    Args:
        trials: finished trials, pruned and failed ones included.
        given_up: trials stopped by the pruner.
        shadows: trials that it gave up but that went on until they were completed or diverged.
        wrong: shadows among the `top` best of the trials trained for as many epochs.
        top: how many best ones.
        confidence: of the bounds, in (0, 1).
        epochs_saved: epochs that the stopped ones had left.
        shadow_epochs: epochs that the shadows took after they were given up.
    """

    trials: int
    given_up: int
    shadows: int
    wrong: int
    top: int
    confidence: float
    epochs_saved: int
    shadow_epochs: int

    @property
    def rate(self) -> float | None:
        """Share of wrong ones among the shadows; None without shadows."""
        return self.wrong / self.shadows if self.shadows else None

    @property
    def bound(self) -> float:
        """With the given confidence, at most this share of what was given up would have ended in the top."""
        return self._limits("less")[1]

    @property
    def interval(self) -> tuple[float, float]:
        """Two-sided limits of that share."""
        return self._limits("two-sided")

    @property
    def tells(self) -> bool:
        """Whether the shadows say something useful: that at most a quarter of what was given up would have
        ended in the top, or that more than a quarter would have.
        """
        return self.bound <= _TELLING or self.interval[0] > _TELLING

    def _limits(self, alternative: Literal["less", "two-sided"]) -> tuple[float, float]:
        if not self.shadows:
            return 0.0, 1.0
        test = binomtest(self.wrong, self.shadows, alternative=alternative)
        limits = test.proportion_ci(self.confidence, method="exact")
        return float(limits.low), float(limits.high)

    def __str__(self) -> str:
        """A sentence for people."""
        if not self.given_up + self.shadows:
            return f"gave up none of {self.trials} trials"
        saved = f"gave up {self.given_up} of {self.trials} trials, which saved {self.epochs_saved} epochs"
        if not self.shadows:
            return f"{saved}; no shadow was trained to the end, so how often that was wrong is not known"
        noun = "shadow" if self.shadows == 1 else "shadows"
        seen = f"{self.shadows} {noun} cost {self.shadow_epochs}: {self.wrong} ended in the top {self.top}"
        return f"{saved}; {seen}, so {self._claim()}"

    def _claim(self) -> str:
        low, high = self.interval
        bounded = f"at most {_percent(self.bound)}"
        share = f"{_percent(low)} to {_percent(high)}" if low > _TELLING else bounded
        claim = f"{share} of what was given up would have, with {_percent(self.confidence)} confidence"
        if self.tells:
            return claim
        needed = shadows_needed(_AIM, self.confidence)
        return f"{claim}: too few to tell; {needed} without a wrong one would show at most {_percent(_AIM)}"

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON's types."""
        derived = {"rate": self.rate, "bound": self.bound, "interval": list(self.interval)}
        return {**asdict(self), **derived, "tells": self.tells, "sentence": str(self)}


def shadows_needed(level: float, confidence: float = 0.95) -> int:
    """The least number of shadows that bounds the share of wrong ones by a level if none of them is wrong: 59
    for 5 %.

    Args:
        level: the bound wanted, in (0, 1).
        confidence: of the bound, in (0, 1).
    """
    return math.ceil(math.log(1 - confidence) / math.log(1 - level))


def count_false_kills(study: Study, top: int = 3, confidence: float = 0.95) -> FalseKills:
    """Count what a `ShadowedPruner` gave up in a study, finished or running, from its trials alone.

    A shadow that diverged was given up rightly. One that failed otherwise, still runs, or was pruned by its
    own code does not count. Where no epochs are assigned to trials, a trial's epochs are the last step of the
    longest completed one.

    Args:
        study: anyone's, of one objective.
        top: a shadow that ends among so many best ones was given up wrongly; ties count as wrong.
        confidence: of the bounds, in (0, 1).

    Raises:
        ArgumentError: an argument breaks its rule.
    """
    if isinstance(top, bool) or not isinstance(top, int) or top < 1:
        raise ArgumentError("top", "a positive integer", top)
    if not 0 < confidence < 1:
        raise ArgumentError("confidence", "a number in (0, 1)", confidence)
    if len(study.directions) > 1:
        raise ArgumentError("study", "one of a single objective", study.study_name)
    trials = study.get_trials(deepcopy=False)
    completed = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    epochs = max((trial.last_step or 0 for trial in completed), default=0)
    stopped = [trial for trial in _given_up(trials, shadow=False) if trial.state == TrialState.PRUNED]
    shadows = [trial for trial in _given_up(trials, shadow=True) if _is_over(trial)]
    return FalseKills(
        trials=sum(trial.state.is_finished() for trial in trials),
        given_up=len(stopped),
        shadows=len(shadows),
        wrong=sum(_is_wrong(trial, completed, study.direction, top) for trial in shadows),
        top=top,
        confidence=confidence,
        epochs_saved=sum(max(0, epochs_of(trial, epochs) - _ran(trial)) for trial in stopped),
        shadow_epochs=sum(_ran(trial) - trial.user_attrs[GIVEN_UP]["epoch"] for trial in shadows),
    )


def _given_up(trials: Sequence[FrozenTrial], *, shadow: bool) -> list[FrozenTrial]:
    given_up = [trial for trial in trials if GIVEN_UP in trial.user_attrs]
    return [trial for trial in given_up if trial.user_attrs[GIVEN_UP]["shadow"] == shadow]


def _is_over(shadow: FrozenTrial) -> bool:
    """Whether it was trained for as long as it could be."""
    return shadow.state == TrialState.COMPLETE or (
        shadow.state == TrialState.FAIL and DIVERGED in shadow.user_attrs
    )


def _is_wrong(
    shadow: FrozenTrial, completed: Sequence[FrozenTrial], direction: StudyDirection, top: int
) -> bool:
    # Those that a searcher gave fewer epochs, or more, compete among themselves.
    rivals = [trial for trial in completed if epochs_of(trial, 0) == epochs_of(shadow, 0)]
    loss = _loss(shadow, direction)
    return loss < math.inf and sum(_loss(rival, direction) < loss for rival in rivals) < top


def _loss(trial: FrozenTrial, direction: StudyDirection) -> float:
    """What is minimized; infinite for a trial that gave no result."""
    if trial.state != TrialState.COMPLETE or trial.value is None or not math.isfinite(trial.value):
        return math.inf
    return -trial.value if direction == StudyDirection.MAXIMIZE else trial.value


def _ran(trial: FrozenTrial) -> int:
    """Epochs that a trial ran: those that it reported, those before it was given up at least, and the one in
    which it diverged.
    """
    given_up = int(trial.user_attrs[GIVEN_UP]["epoch"])
    return max(trial.last_step or 0, given_up, int(trial.user_attrs.get(DIVERGED, 0)))


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
