"""One epoch for every trial, and the rest for those that were among the best after it."""

from optuna.pruners import BasePruner
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from hpo_gn.fidelity import continues
from hpo_gn.searchers._costs import as_cost, check_integer, sign_of


class OneEpochPruner(BasePruner):
    """Goes on with a trial only if its value after the first epochs is among the best so far.

    "Is One Epoch All You Need For Multi-Fidelity Hyperparameter Optimization?" (Egele, Guyon, Sun and
    Balaprakash, 2023, arXiv 2307.15422) trains every configuration for one epoch and only the `top` best to
    the end. In a stream of trials that has no end, a trial is decided on once, at its first report from step
    `epochs` on: it is pruned if `top` trials or more have reported a better value at the same step. Running
    and pruned trials count, failed ones do not. A value that is not finite is worse than any other.

    The first `top` trials always go on, so no start-up is needed. After that the rule keeps records alone: of
    n trials in random order about top × (1 + ln(n / top)) are trained to the end, with the defaults 13 of
    100. A long search whose first epochs say little should raise `top`.

    Steps are epochs, counted from 1. Where they are counted from 0, step 1 is reached after two.

    Args:
        top: how many of the best go on.
        epochs: the epochs that every trial is trained for.

    Raises:
        ArgumentError: an argument is not an integer of at least 1.
    """

    def __init__(self, top: int = 3, epochs: int = 1) -> None:
        check_integer("top", top, 1)
        check_integer("epochs", epochs, 1)
        self.top, self.epochs = top, epochs

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether to give the trial up; True at no other step than the one it is decided at."""
        step = self._decided_at(trial)
        return step is not None and step == trial.last_step and self._better(study, trial, step) >= self.top

    def reason(self, study: Study, trial: FrozenTrial) -> str:
        """What is known of the trial, as a clause: "at epoch 1 its value was 0.93, with 17 better so far"."""
        step = self._decided_at(trial)
        if step is None:
            return f"it has reported nothing from epoch {self.epochs} on"
        value, better = trial.intermediate_values[step], self._better(study, trial, step)
        return f"at epoch {step} its value was {value:.4g}, with {better} better so far"

    def _decided_at(self, trial: FrozenTrial) -> int | None:
        return min((step for step in trial.intermediate_values if step >= self.epochs), default=None)

    def _better(self, study: Study, trial: FrozenTrial, step: int) -> int:
        sign = sign_of(study)
        cost = as_cost(trial.intermediate_values[step], sign)
        others = [other for other in study.get_trials(deepcopy=False) if other.state != TrialState.FAIL]
        # A configuration that was trained again for more epochs is one, not two.
        continued = {continues(other) for other in others}
        return sum(
            as_cost(other.intermediate_values.get(step), sign) < cost
            for other in others
            if other.number not in continued
        )
