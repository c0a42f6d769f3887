"""What a give-up rule reads off a trial: its value, its signal and its spectra, epoch by epoch."""

import math
from dataclasses import dataclass
from typing import Literal

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from hpo_gn.errors import StudyError
from hpo_gn.fidelity import EPOCHS
from hpo_gn.history import History, has_gaps
from hpo_gn.measures.early_success import EarlySuccess, Spectra
from hpo_gn.searchers._costs import as_cost, sign_of

Signal = Literal["value", "s-fv", "s-f"]

COLUMNS: dict[Signal, tuple[str, ...]] = {
    "value": (),
    "s-fv": ("val_accuracy", "spectrum:"),
    "s-f": ("spectrum:",),
}
"""The beginnings of the columns that a signal is made of."""


@dataclass(frozen=True)
class Past:
    """A complete trial, as costs: lower is better.

    Attributes:
        cost: its final value.
        costs: its values by step.
        signals: its signal by epoch, or by step if the signal is its value; where there is none, none.
        standing: its latest value at each of them; infinite before the first.
        spectra: by epoch, from where the window is full; none of a trial whose rows have gaps.
    """

    cost: float
    costs: dict[int, float]
    signals: dict[int, float]
    standing: dict[int, float]
    spectra: dict[int, Spectra]

    @property
    def end(self) -> Spectra | None:
        """Its last spectra."""
        return self.spectra[max(self.spectra)] if self.spectra else None

    @classmethod
    def of(cls, study: Study, trial: FrozenTrial, signal: Signal, parameters: EarlySuccess) -> "Past":
        """That of a complete trial."""
        history, sign = History.of(trial), sign_of(study)
        costs = {step: as_cost(value, sign) for step, value in sorted(trial.intermediate_values.items())}
        spectra = {epoch: spectra_at(history, epoch, parameters) for epoch in range(1, len(history) + 1)}
        scores = {
            epoch: score_at(signal, history, epoch, found, parameters) for epoch, found in spectra.items()
        }
        signals = {epoch: score for epoch, score in scores.items() if score is not None}
        full = {epoch: found for epoch, found in spectra.items() if found and epoch >= parameters.t0}
        return cls(
            cost=as_cost(trial.value, sign),
            costs=costs,
            signals=costs if signal == "value" else signals,
            standing=costs if signal == "value" else {epoch: _latest(costs, epoch) for epoch in signals},
            spectra={} if has_gaps(trial) else full,
        )


def spectra_at(history: History, epoch: int, parameters: EarlySuccess) -> Spectra | None:
    """s_o and s_s after an epoch, in a window that is as long as there are epochs at first; None where there
    are none, as after one epoch, or where every layer changed within the window.
    """
    window = History(history.rows[max(0, epoch - parameters.t0) : epoch])
    try:
        return Spectra.of(window, parameters.within(window))
    except StudyError:
        return None


def score_at(
    signal: Signal, history: History, epoch: int, spectra: Spectra | None, parameters: EarlySuccess
) -> float | None:
    """1 − s_Fv or −s_F after an epoch; None where there is none.

    Args:
        signal: which one; of "value" there is none.
        history: the trial's.
        epoch: from 1 on.
        spectra: after that epoch.
        parameters: of the scores.
    """
    if signal == "s-f":
        return None if spectra is None else -spectra.success(parameters)
    accuracy = history.rows[epoch - 1].get("val_accuracy", math.nan) if history.rows else math.nan
    if signal == "value" or not math.isfinite(accuracy):
        return None
    if epoch == 1:
        return 1.0 - accuracy  # as of `expected_accuracy`
    return None if spectra is None else 1.0 - spectra.final_accuracy(accuracy, epoch, parameters)


def tells(signal: Signal, history: History) -> bool:
    """Whether the history has what the signal is made of at any epoch."""
    names = {name for row in history.rows for name in row}
    return all(any(name.startswith(column) for name in names) for column in COLUMNS[signal])


def comparable(study: Study, trial: FrozenTrial) -> list[FrozenTrial]:
    """The complete trials that were trained for as many epochs as this one is to be; where none is said, all
    that reached the last step that any of them did.
    """
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if EPOCHS in trial.user_attrs:
        return [each for each in complete if each.user_attrs.get(EPOCHS) == trial.user_attrs[EPOCHS]]
    steps = [-1 if each.last_step is None else each.last_step for each in complete]
    longest = max(steps, default=-1)
    return [each for each, step in zip(complete, steps, strict=True) if step == longest]


def _latest(costs: dict[int, float], epoch: int) -> float:
    """The last of the values, by rising step, that was reported by an epoch."""
    first = 0 if 0 in costs else 1
    return next((costs[step] for step in reversed(costs) if step - first < epoch), math.inf)
