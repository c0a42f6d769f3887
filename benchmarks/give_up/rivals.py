"""The pruners that are replayed, each with the settings from mild to aggressive that its front is made of."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any, get_args

from optuna.exceptions import ExperimentalWarning
from optuna.pruners import (
    BasePruner,
    HyperbandPruner,
    MedianPruner,
    NopPruner,
    PercentilePruner,
    SuccessiveHalvingPruner,
    WilcoxonPruner,
)
from optuna.study import Study
from optuna.trial import FrozenTrial

from hpo_gn.fidelity import ROUND
from hpo_gn.measures.early_success import NORMALIZED
from hpo_gn.pruning.named import named_pruner
from hpo_gn.registry import names
from hpo_gn.searchers.pruners.give_up import GiveUpPruner, Signal
from hpo_gn.searchers.pruners.one_epoch import OneEpochPruner
from hpo_gn.searchers.pruners.power_law import PowerLawPruner

Grid = Mapping[str, Sequence[Any]]

OURS = "give-up"
"""What our families' names begin with."""
REFERENCES = ("none", "first round only")
"""Families that nobody would use."""


def grids(epochs: int) -> dict[str, tuple[Callable[..., BasePruner], Grid]]:
    """Each family's class and the values of its arguments, all combinations of which are tried.

    Args:
        epochs: of a run that is trained to the end.
    """
    ours = {"lenience": (0.0, 0.25, 0.5), "top": (1, 3), "patience": (1, 2)}
    return {
        "none": (NopPruner, {}),
        "first round only": (FirstRoundOnly, {}),
        "one-epoch": (OneEpochPruner, {"epochs": (1, 2, 3), "top": (1, 2, 3, 5, 8)}),
        "power-law": (PowerLawPruner, {"top": (1, 3), "confidence": (0.6, 0.8, 0.95)}),
        "median": (MedianPruner, {"n_warmup_steps": (0, 2, 3, 5)}),
        "percentile": (PercentilePruner, {"percentile": (10.0, 25.0, 75.0), "n_warmup_steps": (0, 2, 3)}),
        "successive-halving": (
            SuccessiveHalvingPruner,
            {"reduction_factor": (2, 3, 4), "min_resource": (1, 2, 4)},
        ),
        "hyperband": (HyperbandPruner, {"reduction_factor": (2, 3, 4), "max_resource": (epochs,)}),
        "wilcoxon": (_wilcoxon, {"p_threshold": (0.05, 0.1, 0.2)}),
        f"{OURS} value": (GiveUpPruner, {"signal": ("value",), **ours}),
        f"{OURS} s-fv": (GiveUpPruner, {"signal": ("s-fv",), **ours}),
        f"{OURS} s-f": (GiveUpPruner, {"signal": ("s-f",), **ours}),
        f"{OURS} s-fv, normalized": (
            GiveUpPruner,
            {"signal": ("s-fv",), "parameters": (NORMALIZED,), **ours},
        ),
    }


class FirstRoundOnly(BasePruner):
    """Gives up whatever is not of the first round: what can be saved at most, and what that costs."""

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether it is of a later round."""
        del study
        return bool(trial.user_attrs[ROUND] > 1)


@dataclass(frozen=True)
class Setting:
    """A pruner with its arguments.

    Args:
        family: which pruners it is compared with as one.
        arguments: those that differ within the family, as text.
        make: gives a fresh one.
    """

    family: str
    arguments: str
    make: Callable[[], BasePruner]

    def __str__(self) -> str:
        return f"{self.family} {self.arguments}".strip()


def settings(epochs: int, families: Sequence[str] | None = None) -> Iterator[Setting]:
    """Every setting.

    Args:
        epochs: of a run that is trained to the end.
        families: those wanted; None for all.
    """
    for family, (make, grid) in grids(epochs).items():
        if families is not None and family not in families:
            continue
        differing = [name for name, values in grid.items() if len(values) > 1]
        for values in product(*grid.values()):
            arguments = dict(zip(grid, values, strict=True))
            text = ", ".join(f"{name} {arguments[name]}" for name in differing)
            yield Setting(family, text, partial(make, **arguments))


def defaults(epochs: int) -> list[Setting]:
    """Every registered pruner as a search makes it from its name, and ours with other signals.

    Args:
        epochs: of a run that is trained to the end.
    """
    registered = [Setting(name, "", partial(named_pruner, name, epochs=epochs)) for name in names("pruner")]
    others = [
        Setting(f"{OURS} {signal}", "", partial(GiveUpPruner, signal=signal)) for signal in get_args(Signal)
    ]
    return [Setting("none", "", NopPruner), *registered, *others]


def _wilcoxon(**arguments: Any) -> BasePruner:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return WilcoxonPruner(**arguments)
