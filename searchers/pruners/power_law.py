"""Gives trials up whose learning curves lead to nothing better than what others have reached."""

import math
from dataclasses import dataclass

import numpy as np
from optuna.pruners import BasePruner
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from hpo_gn.errors import ArgumentError
from hpo_gn.fidelity import epochs_of
from hpo_gn.searchers._costs import as_cost, check_integer, sign_of
from hpo_gn.searchers.pruners._extrapolation import Array, Forecast


@dataclass(frozen=True)
class _Outlook:
    """A trial's forecast at its last epoch and the cost that it would have to reach."""

    epoch: int
    forecast: Forecast
    rival: float


class PowerLawPruner(BasePruner):
    """Prunes a trial whose learning curve, continued as a power law, ends surely worse than the best.

    Stopping by extrapolated learning curves is of Domhan, Springenberg and Hutter, "Speeding Up Automatic
    Hyperparameter Optimization of Deep Neural Networks by Extrapolation of Learning Curves" (2015); the power
    law y(t) = a + b t^(−c) is one of their curves (Cortes et al., "Learning Curves: Asymptotic Values
    and Rate of Convergence", 1994; Viering and Loog, "The Shape of Learning Curves: a Review", 2023). It is
    fitted to all of the trial's reported values by least squares with b ≥ 0: a curve that gets worse is
    continued as its mean, which is better than where it leads.

    A trial is pruned if, at its last epoch, the fit less its margin is worse than the `top`-th best value of
    the completed trials. The margin comes from the residuals (see `Forecast`), so a rough curve is followed
    longer. A trial that fewer than `top` completed ones led at its latest step goes on, whatever its curve:
    so the best run of a study whose curves do not cross is never pruned. Values that are not finite are left
    out, and nothing is decided at one of them.

    The law knows no step of a learning rate's schedule. Before a step curves fall more slowly than they will,
    so every forecast is too high and good runs are pruned; after it the fit has to explain a break and its
    margin is wide. Use it with constant or smoothly decayed rates, or with `min_points` past the first step.

    Steps are epochs, counted from 1, or from 0 in a trial that reported at step 0.

    Args:
        epochs: the last epoch; with None the trial's own (`hpo_gn.fidelity`), or without that the last step
            of the longest completed trial.
        top: the rank among the completed trials that a trial must be able to tie with.
        min_points: values that a trial must have reported.
        n_startup_trials: completed trials before any is pruned.
        confidence: of a single forecast, that the trial will not end better than the margin allows.

    Raises:
        ArgumentError: an integer is too small or the confidence not between 0.5 and 1.
    """

    def __init__(
        self,
        epochs: int | None = None,
        top: int = 1,
        min_points: int = 4,
        n_startup_trials: int = 8,
        confidence: float = 0.95,
    ) -> None:
        if epochs is not None:
            check_integer("epochs", epochs, 1)
        check_integer("top", top, 1)
        check_integer("min_points", min_points, 4)
        check_integer("n_startup_trials", n_startup_trials, 0)
        if not 0.5 < confidence < 1:
            raise ArgumentError("confidence", "between 0.5 and 1", confidence)
        self.epochs, self.top, self.min_points = epochs, top, min_points
        self.n_startup_trials, self.confidence = n_startup_trials, confidence

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether to give the trial up."""
        outlook = self._outlook(study, trial)
        return outlook is not None and outlook.forecast.value - outlook.forecast.margin > outlook.rival

    def reason(self, study: Study, trial: FrozenTrial) -> str:
        """What is known of the trial, as a clause: "its curve leads to 0.52 ± 0.03 at epoch 16, and …"."""
        outlook = self._outlook(study, trial)
        if outlook is None:
            return "its curve has not been continued"
        sign = sign_of(study)
        value, rival = sign * outlook.forecast.value, sign * outlook.rival
        best = "the best trial" if self.top == 1 else f"the best {self.top} trials"
        return (
            f"its curve leads to {value:.4g} ± {outlook.forecast.margin:.2g} at epoch {outlook.epoch}, "
            f"and {best} reached {rival:.4g}"
        )

    def _outlook(self, study: Study, trial: FrozenTrial) -> _Outlook | None:
        completed = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        sign = sign_of(study)
        epochs, costs = _curve(trial, sign)
        if len(completed) < max(self.n_startup_trials, self.top) or len(epochs) < self.min_points:
            return None
        last = self.epochs or epochs_of(trial, 0) or max(map(_epochs_done, completed))
        now = _epochs_done(trial)
        if epochs[-1] != now or now >= last or self._leads(costs[-1], trial, completed, sign):
            return None
        rival = sorted(as_cost(other.value, sign) for other in completed)[self.top - 1]
        with np.errstate(all="ignore"):  # a forecast that is not a number is not worse than any
            return _Outlook(last, Forecast.of(epochs, costs, last, self.confidence), rival)

    def _leads(self, cost: float, trial: FrozenTrial, completed: list[FrozenTrial], sign: int) -> bool:
        step = max(trial.intermediate_values)
        others = (as_cost(other.intermediate_values.get(step), sign) for other in completed)
        return sum(other < cost for other in others) < self.top


def _first(trial: FrozenTrial) -> int:
    """What makes a step the number of epochs done."""
    return 1 if 0 in trial.intermediate_values else 0


def _epochs_done(trial: FrozenTrial) -> int:
    return max(trial.intermediate_values, default=0) + _first(trial)


def _curve(trial: FrozenTrial, sign: int) -> tuple[Array, Array]:
    """Epochs, rising, and costs, as far as they are finite, each of shape (n,)."""
    values = trial.intermediate_values
    costs = ((step + _first(trial), as_cost(values[step], sign)) for step in sorted(values))
    finite = np.array([point for point in costs if math.isfinite(point[1])], dtype=np.float64).reshape(-1, 2)
    return finite[:, 0], finite[:, 1]
