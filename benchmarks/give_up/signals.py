"""How well each signal at an epoch ranks runs by what they end with."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from benchmarks.give_up.fronts import RESAMPLES
from benchmarks.give_up.judged import final_loss, rank
from benchmarks.give_up.scores import spearman
from hpo_gn.errors import StudyError
from hpo_gn.history import History
from hpo_gn.measures.early_success import DEFAULTS, NORMALIZED, expected_accuracy, s_f
from hpo_gn.recorded import RecordedRun

SIGNALS: Mapping[str, Callable[[History], float]] = {
    "val_loss": lambda history: history.last("val_loss"),
    "val_accuracy": lambda history: -history.last("val_accuracy"),
    "s_Fv": lambda history: -expected_accuracy(history),
    "s_F": lambda history: -s_f(history, DEFAULTS.within(history)),
    "s_Fv, normalized": lambda history: -expected_accuracy(history, NORMALIZED),
    "s_F, normalized": lambda history: -s_f(history, NORMALIZED.within(history)),
    "AGN": lambda history: history.last("agn"),
}
"""Each as a cost, lower is better; a window that the history does not fill is shortened to it."""
EPOCHS = (1, 2, 3, 5, 8, 12)

Array = npt.NDArray[np.float64]


def correlations(runs: Sequence[RecordedRun], epochs: Sequence[int]) -> list[list[str]]:
    """Rows of a table: Spearman of each signal with the final validation loss, and beside it in brackets a
    95 % interval of what is gained over the validation loss at the same epoch, from a bootstrap over runs. A
    dash where some run has no signal or all have the same.

    Args:
        runs: any; those that were recorded to the end count.
        epochs: at which.
    """
    ended = rank(runs)
    finals = np.array([final_loss(run) for run in ended])
    rows = [["signal", *(f"epoch {epoch}" for epoch in epochs)]]
    for name in SIGNALS:
        cells = []
        for epoch in epochs:
            values = signal_at(name, ended, epoch)
            cells.append(_cell(values, signal_at("val_loss", ended, epoch), finals, name == "val_loss"))
        rows.append([name, *cells])
    return rows


def signal_at(name: str, runs: Sequence[RecordedRun], epoch: int) -> Array:
    """A signal of each run at the end of an epoch; NaN where there is none."""
    return np.array([_value(SIGNALS[name], run.history.upto(epoch)) for run in runs])


def _value(signal: Callable[[History], float], history: History) -> float:
    try:
        return signal(history)
    except StudyError:  # as of s_F after one epoch
        return math.nan


def _cell(values: Array, losses: Array, finals: Array, is_loss: bool) -> str:
    own = spearman(values, finals) if len(finals) > 2 else np.array(math.nan)
    if np.isnan(own):
        return "—"
    if is_loss:
        return f"{own:+.3f}"
    drawn = np.random.default_rng(0).integers(len(finals), size=(RESAMPLES, len(finals)))
    gains = spearman(values[drawn], finals[drawn]) - spearman(losses[drawn], finals[drawn])
    low, high = np.nanquantile(gains, (0.025, 0.975))
    return f"{own:+.3f} [{low:+.2f}, {high:+.2f}]"
