"""Pruners by name, with settings that suit runs of a known length."""

import warnings
from collections.abc import Mapping
from typing import Any

from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner

from hpo_gn.errors import ArgumentError
from hpo_gn.registry import make

_PERCENTILE = 25.0
"""What `percentile` lets go on; Optuna's class has no default."""
_REDUCTION_FACTOR = 3
"""Of `successive-halving` and `hyperband`: Optuna's 4 spends a rung on the last epoch of 16 or 64."""


def named_pruner(name: str, epochs: int, asked: Mapping[str, Any] | None = None) -> BasePruner:
    """A registered pruner, or a class at `module:class`, given those settings that its constructor takes.

    Args:
        name: the pruner's.
        epochs: of a run.
        asked: settings that it must take, unless they are None.

    Raises:
        UnknownNameError: nothing is registered under the name.
        ArgumentError: it is no pruner, or does not take a setting that was asked for.
    """
    settings = {
        "min_resource": 1,
        "max_resource": epochs,
        "reduction_factor": _REDUCTION_FACTOR,
        "percentile": _PERCENTILE,
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)  # Optuna's, of some of its own
        pruner = make("pruner", name, settings, asked)
    if not isinstance(pruner, BasePruner):
        raise ArgumentError("pruner", "a class of Optuna pruners", name)
    return pruner
