"""What pruners around a pruner share: whom they ask, and its name and reasons."""

from optuna.pruners import BasePruner
from optuna.study import Study
from optuna.trial import FrozenTrial

from hpo_gn.errors import ArgumentError
from hpo_gn.failures import one_line


class PrunerWrapper(BasePruner):
    """A pruner around another one.

    Args:
        pruner: the one inside.

    Raises:
        ArgumentError: it is no pruner.
    """

    def __init__(self, pruner: BasePruner) -> None:
        if not isinstance(pruner, BasePruner):
            raise ArgumentError("pruner", "an Optuna pruner", pruner)
        self.pruner = pruner

    @property
    def name(self) -> str:
        """The class of the innermost pruner."""
        return self.pruner.name if isinstance(self.pruner, PrunerWrapper) else type(self.pruner).__name__

    def reason(self, study: Study, trial: FrozenTrial) -> str:
        """Why the pruner inside would prune a trial, or its name where it does not say."""
        return reason_of(self.pruner, study, trial)


def reason_of(pruner: BasePruner, study: Study, trial: FrozenTrial) -> str:
    """What a pruner's own method `reason(study, trial)` says of a trial, or the name of its class.

    Args:
        pruner: any pruner.
        study: the trial's.
        trial: one that it has just decided to prune.
    """
    reason = getattr(pruner, "reason", None)
    return type(pruner).__name__ if reason is None else one_line(str(reason(study, trial)))
