"""Trials as a give-up rule meets them: finished ones, and one that runs."""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState, create_trial

from hpo_gn.measures.early_success import EarlySuccess
from hpo_gn.searchers.pruners.give_up import GiveUpPruner

NAN, INF = math.nan, math.inf
SHORT = EarlySuccess(t0=2)
at_once = partial(GiveUpPruner, patience=1)
SIGNS = {"minimize": 1, "maximize": -1}
Values = Sequence[float] | Mapping[int, float]


def by_step(values: Values) -> dict[int, float]:
    return dict(values) if isinstance(values, Mapping) else dict(enumerate(values, 1))


def rows(spectra: Values, accuracies: Values = (), **columns: float) -> dict[str, dict[str, float]]:
    """Attributes of epochs with one layer of 64 features, and a validation accuracy where there is one."""
    accuracy = by_step(accuracies)
    return {
        f"hpo_gn:epoch:{epoch}": {"spectrum:0": value, "spectrum_width:0": 64.0}
        | ({"val_accuracy": accuracy[epoch]} if epoch in accuracy else {})
        | columns
        for epoch, value in by_step(spectra).items()
    }


def running(values: Values, **attributes: Any) -> FrozenTrial:
    return create_trial(state=TrialState.RUNNING, intermediate_values=by_step(values), user_attrs=attributes)


def numbered(trial: FrozenTrial, number: int) -> FrozenTrial:
    trial.number = number
    return trial


def finished(values: Values, **attributes: Any) -> FrozenTrial:
    """A complete trial whose value is its last report."""
    by = by_step(values)
    return create_trial(value=by[max(by)], intermediate_values=by, user_attrs=attributes)


def study_of(trials: Iterable[FrozenTrial] = (), direction: str = "minimize") -> optuna.Study:
    study = optuna.create_study(direction=direction)
    study.add_trials(list(trials))
    return study


def levels(*finals: float, epochs: int = 4) -> list[FrozenTrial]:
    """Complete trials that report `final` + 1 / epoch."""
    return [finished([final + 1 / epoch for epoch in range(1, epochs + 1)]) for final in finals]


def level(final: float, epochs: int) -> list[float]:
    return [final + 1 / epoch for epoch in range(1, epochs + 1)]


FIVE = (0.1, 0.2, 0.3, 0.4, 0.5)


STILL, MOVING = [4.0] * 8, [40.0 / epoch for epoch in range(1, 9)]
LATE = [40.0, 40.0, 20.0, 8.0, 4.0, 4.0, 4.0, 4.0]


def over(at: float, end: float, spectra: list[float] = STILL) -> FrozenTrial:
    """A complete run of 8 epochs with one value at epochs 1 to 4 and another after them."""
    return finished([at] * 4 + [end] * 4, **rows(spectra))


BAD = over(9.0, 9.0, MOVING)
