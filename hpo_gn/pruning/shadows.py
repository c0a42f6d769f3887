"""Shadows: some of the trials that a pruner gives up are trained to the end, to see whether it was right."""

from optuna.pruners import BasePruner
from optuna.study import Study
from optuna.trial import FrozenTrial

from hpo_gn.errors import ArgumentError
from hpo_gn.pruning.careful import CarefulPruner
from hpo_gn.pruning.wrapper import PrunerWrapper
from hpo_gn.seeds import derive_seed

GIVEN_UP = "hpo_gn:given_up"
"""Trial attribute: that the pruner gave it up, as {"epoch": the last one reported by then, "shadow": whether
it is trained to the end all the same, "reason": a line}."""


class ShadowedPruner(PrunerWrapper):
    """A pruner that trains some of the trials that another one gives up to the end.

    The first time that the other one wants to prune a trial, its verdict is written on the trial (`GIVEN_UP`)
    and stands: it is not asked again, also after the trial was resumed. `count_false_kills` reads from these
    attributes how often it was wrong. An exception of the other one lets the trial go on (`CarefulPruner`).

    Args:
        pruner: the one that decides. Its method `reason(study, trial)`, if it has one, says why; otherwise
            the reason is its name.
        share: of the trials given up, those that are trained to the end, in [0, 1].
        seed: whether a trial is one of them depends on `[seed, trial.number]` alone, not on workers or order.
            A larger share adds trials to those of a smaller one.

    Raises:
        ArgumentError: an argument breaks its rule.
    """

    def __init__(self, pruner: BasePruner, share: float = 0.1, seed: int = 0) -> None:
        super().__init__(pruner)
        if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 <= share <= 1:
            raise ArgumentError("share", "a number in [0, 1]", share)
        if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
            raise ArgumentError("seed", "a non-negative integer", seed)
        self.share, self.seed = share, seed
        self._careful = CarefulPruner(pruner)

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether to stop the trial: it is given up, and no shadow."""
        given_up = trial.user_attrs.get(GIVEN_UP)
        if given_up is None:
            if not self._careful.prune(study, trial):
                return False
            given_up = self._give_up(study, trial)
        return not given_up["shadow"]

    def _give_up(self, study: Study, trial: FrozenTrial) -> dict[str, object]:
        given_up = {
            "epoch": trial.last_step or 0,
            "shadow": self._is_shadow(trial.number),
            "reason": self._careful.reason(study, trial),
        }
        study._storage.set_trial_user_attr(trial._trial_id, GIVEN_UP, given_up)
        trial.user_attrs[GIVEN_UP] = given_up  # Optuna's Trial has its own copy of what is stored
        return given_up

    def _is_shadow(self, number: int) -> bool:
        # Not derive_seed(seed, number), which is what a trial's training and its sampler are seeded with.
        return derive_seed(self.seed, number, *b"shadow") < self.share * 2**63
