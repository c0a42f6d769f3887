"""Early success: scores of whether a training will succeed, from the columns of `Spectrum` ("Predicting the
success of Gradient Descent for a particular Dataset-Architecture-Initialization", section III).

In a training that succeeds the singular values of hidden activations fall steeply (s_o) and more and more so
(s_s). A score is of the history's last epoch t and looks at the t0 epochs up to it.

Chosen: a layer whose activations were all zero, S = 0, counts like one with a single singular value, S = 1.
"""

import math
from dataclasses import dataclass

from hpo_gn.errors import ArgumentError, StudyError
from hpo_gn.history import History

_SPECTRUM, _WIDTH = "spectrum:", "spectrum_width:"


@dataclass(frozen=True)
class EarlySuccess:
    """What the scores depend on. The paper does not give t0, t2 and δ: their defaults here are provisional.

    Args:
        t0: epochs in the window.
        t1: a training is expected to succeed if s_F > t1.
        t2: spectra with s_o ≥ t2 are steep.
        delta: δ; spectra with s_s ≤ δ get no steeper.
        beta: β, scales s_o.
        eta: η, the weight of s_s in s_t.
        gamma: γ / (v_t t), the weight of s_t in s_Fv.

    Raises:
        ArgumentError: t0 is not an integer of at least 2.
    """

    t0: int = 5
    t1: float = 0.25
    t2: float = 10.0
    delta: float = 1e-4
    beta: float = 1.0
    eta: float = 3.5e3
    gamma: float = 2e-4

    def __post_init__(self) -> None:
        if not isinstance(self.t0, int) or self.t0 < 2:
            raise ArgumentError("t0", "an integer of at least 2", self.t0)


DEFAULTS = EarlySuccess()


def s_o(history: History, parameters: EarlySuccess = DEFAULTS) -> float:
    """Steepness: the mean over layers of β d_l t0 / Σ_k S_kl (equations 2 and 3), from β to β d_l.

    Chosen: k = t − t0 + 1 … t, as many terms as the numerator counts; the paper prints one more.

    Raises:
        StudyError: the history has fewer than t0 epochs or lacks the columns of `Spectrum`.
    """
    layers = _layers(history, parameters, "s_o")
    steepness = [parameters.beta * width * len(sums) / sum(sums) for width, sums in layers]
    return sum(steepness) / len(steepness)


def s_s(history: History, parameters: EarlySuccess = DEFAULTS) -> float:
    """Shift: the mean over layers of Σ_k α_k (S_(k−1)l − S_kl) / ((t0 − 1) d_l) (equations 4 and 5).

    Chosen: k = t − t0 + 2 … t, as many terms as the denominator counts, with α_k rising from 1/(t0 − 1) to 1.

    Raises:
        StudyError: the history has fewer than t0 epochs or lacks the columns of `Spectrum`.
    """
    layers = _layers(history, parameters, "s_s")
    terms = parameters.t0 - 1
    shifts = [
        sum(k / terms * (sums[k - 1] - sums[k]) for k in range(1, terms + 1)) / (terms * width)
        for width, sums in layers
    ]
    return sum(shifts) / len(shifts)


def s_t(history: History, parameters: EarlySuccess = DEFAULTS) -> float:
    """|log s_o| + η s_s, with the natural logarithm (equation 6).

    Raises:
        StudyError: the history has fewer than t0 epochs or lacks the columns of `Spectrum`.
    """
    return abs(math.log(s_o(history, parameters))) + parameters.eta * s_s(history, parameters)


def s_f(history: History, parameters: EarlySuccess = DEFAULTS) -> float:
    """s_F: 0 if s_o ≥ t2 and s_s ≤ δ, else s_t (equation 7). It needs no labels.

    Raises:
        StudyError: the history has fewer than t0 epochs or lacks the columns of `Spectrum`.
    """
    return 0.0 if _has_ended(history, parameters) else s_t(history, parameters)


def s_fv(history: History, parameters: EarlySuccess = DEFAULTS) -> float:
    """s_Fv, an estimate of the final validation accuracy from v_t, the present one: v_t if s_o ≥ t2 and
    s_s ≤ δ, else v_t (1 + min((1 − v_t) / v_t, γ s_t)) with γ = 2e-4 v_t t (equation 8).

    Chosen: 0 where a negative s_t makes it less, for the paper wants it in [0, 1].

    Raises:
        StudyError: the history has fewer than t0 epochs, or lacks `val_accuracy` or columns of `Spectrum`.
    """
    accuracy = history.last("val_accuracy")
    if _has_ended(history, parameters):
        return accuracy
    gamma = parameters.gamma * accuracy * len(history)
    # The same without dividing by an accuracy of 0.
    return max(0.0, min(1.0, accuracy * (1 + gamma * s_t(history, parameters))))


def _has_ended(history: History, parameters: EarlySuccess) -> bool:
    return s_o(history, parameters) >= parameters.t2 and s_s(history, parameters) <= parameters.delta


def _layers(history: History, parameters: EarlySuccess, score: str) -> list[tuple[float, tuple[float, ...]]]:
    """Each layer's width d_l and its S_kl in the window, [t0]."""
    if len(history) < parameters.t0:
        raise StudyError(f"{score} needs at least {parameters.t0} epochs, the history has {len(history)}")
    names = [name.removeprefix(_SPECTRUM) for name in history.rows[-1] if name.startswith(_SPECTRUM)]
    if not names:
        raise StudyError(f"{score} needs Spectrum's columns, the history has none at epoch {len(history)}")
    return [
        (
            history.last(f"{_WIDTH}{name}"),
            tuple(max(1.0, value) for value in history.column(f"{_SPECTRUM}{name}")[-parameters.t0 :]),
        )
        for name in names
    ]
