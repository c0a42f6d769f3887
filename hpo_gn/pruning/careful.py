"""A pruner's mistakes cost no trial."""

import reprlib
import warnings
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import numpy as np
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.study import Study
from optuna.trial import FrozenTrial

from hpo_gn.failures import describe, one_line
from hpo_gn.pruning.wrapper import PrunerWrapper

Answer = TypeVar("Answer")

_reported: set[str] = set()
"""Names of the pruners whose failure this process has warned of."""


class CarefulPruner(PrunerWrapper):
    """A pruner whose exceptions let a trial go on, and are warned of once a process.

    What gives neither True nor False has failed too. A study of several objectives is never pruned, which is
    said once as well. The storage's own exceptions pass: that it is away, or that another worker has ended
    the trial, is no mistake of the pruner's, and whoever runs the trial meets them at every other call.

    Args:
        pruner: the one that may fail.

    Raises:
        ArgumentError: it is no pruner.
    """

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """What the pruner inside says; False where it fails."""
        return careful_verdict(self.name, study, lambda: self.pruner.prune(study, trial))

    def reason(self, study: Study, trial: FrozenTrial) -> str:
        """What the pruner inside says; its name where that fails."""
        return _ask(self.name, partial(super().reason, study, trial), otherwise=self.name)


def careful_verdict(name: str, study: Study, prune: Callable[[], bool]) -> bool:
    """What a pruner says; False where it fails, with a warning once a process, as of `CarefulPruner`.

    Args:
        name: of the pruner.
        study: the trial's.
        prune: asks it.
    """
    if len(study.directions) > 1:
        _warn_once(name, "a study of several objectives is not pruned")
        return False
    return _ask(name, partial(_verdict, prune), otherwise=False)


def _verdict(prune: Callable[[], bool]) -> bool:
    verdict: object = prune()
    if not isinstance(verdict, (bool, np.bool_)):
        raise TypeError(f"prune must give a bool, got {reprlib.repr(verdict)}")
    return bool(verdict)


def _ask(name: str, question: Callable[[], Answer], otherwise: Answer) -> Answer:
    try:
        return question()
    except (StorageInternalError, UpdateFinishedTrialError):
        raise
    except Exception as error:
        _warn_once(name, f"it failed with {describe(error)}; the trial goes on")
        return otherwise


def _warn_once(name: str, what: str) -> None:
    if name not in _reported:
        _reported.add(name)
        warnings.warn(one_line(f"pruner {name}: {what}; this is not said again"), stacklevel=2)
