"""Early success: scores of whether a training will succeed, from the columns of `Spectrum` ("Predicting the
success of Gradient Descent for a particular Dataset-Architecture-Initialization", section III).

In a training that succeeds the singular values of hidden activations fall steeply (s_o) and more and more so
(s_s). A score is of the history's last epoch t and looks at the t0 epochs up to it.

Chosen: a layer whose activations were all zero, S = 0, counts like one with a single singular value, S = 1. A
layer that is not in every epoch of the window with the same width does not count.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from hpo_gn.errors import ArgumentError, StudyError
from hpo_gn.history import History

_SPECTRUM, _WIDTH = "spectrum:", "spectrum_width:"


@dataclass(frozen=True)
class EarlySuccess:
    """What the scores depend on. The paper does not give t0, t2 and δ, and its experiments, repeated, do not
    determine them: all choices of a wide grid rank DA-I within 0.01 of each other (Spearman).

    The range of s_o and s_s depends on the layers' widths. `normalized` makes both of u = 1 − log S / log d_l
    instead, which is 0 where all singular values are alike and 1 where there is one: s_o is u's mean over the
    window, s_s the weighted mean of its steps, and s_t = s_o + η s_s. Appendix A asks for a better
    normalization; this one is **ours**, with parameters of its own: `NORMALIZED`.

    Args:
        t0: epochs in the window.
        t1: a training is expected to succeed if s_F > t1.
        t2: spectra with s_o ≥ t2 are steep.
        delta: δ; spectra with s_s ≤ δ get no steeper.
        beta: β, scales s_o.
        eta: η, the weight of s_s in s_t.
        gamma: γ / (v_t t), the weight of s_t in s_Fv.
        normalized: whether s_o and s_s are made of u.

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
    normalized: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.t0, int) or self.t0 < 2:
            raise ArgumentError("t0", "an integer of at least 2", self.t0)

    def within(self, history: History) -> "EarlySuccess":
        """The same with a window that is no longer than the history; one of two epochs is the shortest."""
        return replace(self, t0=max(2, min(self.t0, len(history))))


DEFAULTS = EarlySuccess()
NORMALIZED = EarlySuccess(t0=4, t2=0.6, delta=3e-3, eta=300.0, gamma=1e-3, normalized=True)
"""Chosen on the initializations and architectures of the paper's own experiments, all of them, so not checked
on others: what was calibrated on DA-I alone ranked architectures worse.
"""


def s_o(history: History, parameters: EarlySuccess = DEFAULTS) -> float:
    """Steepness: the mean over layers of β d_l t0 / Σ_k S_kl (equations 2 and 3), from β to β d_l.

    Chosen: k = t − t0 + 1 … t, as many terms as the numerator counts; the paper prints one more.

    Raises:
        StudyError: the history has fewer than t0 epochs or lacks the columns of `Spectrum`.
    """
    layers = _layers(history, parameters, "s_o")
    if parameters.normalized:
        steepness = [sum(_compression(width, sums)) / len(sums) for width, sums in layers]
    else:
        steepness = [width * len(sums) / sum(sums) for width, sums in layers]
    return parameters.beta * sum(steepness) / len(steepness)


def s_s(history: History, parameters: EarlySuccess = DEFAULTS) -> float:
    """Shift: the mean over layers of Σ_k α_k (S_(k−1)l − S_kl) / ((t0 − 1) d_l) (equations 4 and 5).

    Chosen: k = t − t0 + 2 … t, as many terms as the denominator counts, with α_k rising from 1/(t0 − 1) to 1.

    Raises:
        StudyError: the history has fewer than t0 epochs or lacks the columns of `Spectrum`.
    """
    layers = _layers(history, parameters, "s_s")
    terms = parameters.t0 - 1
    shifts = []
    for width, sums in layers:
        falls = _compression(width, sums) if parameters.normalized else [-value / width for value in sums]
        steps = [after - before for before, after in pairwise(falls)]
        shifts.append(sum(k / terms * step for k, step in enumerate(steps, 1)) / terms)
    return sum(shifts) / len(shifts)


def s_t(history: History, parameters: EarlySuccess = DEFAULTS) -> float:
    """|log s_o| + η s_s, with the natural logarithm (equation 6).

    Raises:
        StudyError: the history has fewer than t0 epochs or lacks the columns of `Spectrum`.
    """
    return Spectra.of(history, parameters).trend(parameters)


def s_f(history: History, parameters: EarlySuccess = DEFAULTS) -> float:
    """s_F: 0 if s_o ≥ t2 and s_s ≤ δ, else s_t (equation 7). It needs no labels.

    Raises:
        StudyError: the history has fewer than t0 epochs or lacks the columns of `Spectrum`.
    """
    return Spectra.of(history, parameters).success(parameters)


def s_fv(history: History, parameters: EarlySuccess = DEFAULTS) -> float:
    """s_Fv, an estimate of the final validation accuracy from v_t, the present one: v_t if s_o ≥ t2 and
    s_s ≤ δ, else v_t (1 + min((1 − v_t) / v_t, γ s_t)) with γ = 2e-4 v_t t (equation 8).

    Chosen: 0 where a negative s_t makes it less, for the paper wants it in [0, 1].

    Raises:
        StudyError: the history has fewer than t0 epochs, or lacks `val_accuracy` or columns of `Spectrum`.
    """
    accuracy = history.last("val_accuracy")
    return Spectra.of(history, parameters).final_accuracy(accuracy, len(history), parameters)


def expected_accuracy(history: History, parameters: EarlySuccess = DEFAULTS) -> float:
    """s_Fv of any history, in [0, 1]: one shorter than the window t0 has a window of its own length, and one
    of a single epoch, which says nothing of change, the validation accuracy.

    Raises:
        StudyError: the history is empty, or lacks `val_accuracy` or columns of `Spectrum`.
    """
    if len(history) < 2:
        return history.last("val_accuracy")
    return s_fv(history, parameters.within(history))


def has_ended(history: History, parameters: EarlySuccess = DEFAULTS) -> bool:
    """Whether the training is over, for better or worse: s_o ≥ t2 and s_s ≤ δ (the case of equation 7).

    Raises:
        StudyError: the history has fewer than t0 epochs or lacks the columns of `Spectrum`.
    """
    return Spectra.of(history, parameters).have_ended(parameters)


@dataclass(frozen=True)
class Spectra:
    """s_o and s_s after an epoch, and the scores that are made of them.

    Args:
        steepness: s_o.
        shift: s_s.
    """

    steepness: float
    shift: float

    @classmethod
    def of(cls, history: History, parameters: EarlySuccess) -> "Spectra":
        """Those after the history's last epoch.

        Raises:
            StudyError: the history has fewer than t0 epochs or lacks the columns of `Spectrum`.
        """
        return cls(s_o(history, parameters), s_s(history, parameters))

    def have_ended(self, parameters: EarlySuccess) -> bool:
        """s_o ≥ t2 and s_s ≤ δ."""
        return self.steepness >= parameters.t2 and self.shift <= parameters.delta

    def trend(self, parameters: EarlySuccess) -> float:
        """s_t."""
        level = self.steepness if parameters.normalized else abs(math.log(self.steepness))
        return level + parameters.eta * self.shift

    def success(self, parameters: EarlySuccess) -> float:
        """s_F."""
        return 0.0 if self.have_ended(parameters) else self.trend(parameters)

    def final_accuracy(self, accuracy: float, epochs: int, parameters: EarlySuccess) -> float:
        """s_Fv, from the validation accuracy v_t after so many epochs."""
        if self.have_ended(parameters):
            return accuracy
        gamma = parameters.gamma * accuracy * epochs
        # The same without dividing by an accuracy of 0.
        return max(0.0, min(1.0, accuracy * (1 + gamma * self.trend(parameters))))


def _compression(width: float, sums: Sequence[float]) -> list[float]:
    """u = 1 − log S / log d of each S: 0 where all singular values are alike, 1 where there is one."""
    return [1 - math.log(value) / math.log(width) if width > 1 else 1.0 for value in sums]


def _layers(history: History, parameters: EarlySuccess, score: str) -> list[tuple[float, tuple[float, ...]]]:
    """Each layer's width d_l and its S_kl in the window, [t0]."""
    if len(history) < parameters.t0:
        raise StudyError(f"{score} needs at least {parameters.t0} epochs, the history has {len(history)}")
    window = history.rows[-parameters.t0 :]
    names = [name.removeprefix(_SPECTRUM) for name in window[-1] if name.startswith(_SPECTRUM)]
    if not names:
        raise StudyError(f"{score} needs Spectrum's columns, the history has none at epoch {len(history)}")
    layers = []
    for name in names:
        width = history.last(f"{_WIDTH}{name}")
        if all(row.get(f"{_WIDTH}{name}") == width for row in window):
            sums = tuple(row[f"{_SPECTRUM}{name}"] for row in window)
            if not all(map(math.isfinite, sums)):
                raise StudyError(f"{score} needs finite spectra, that of layer {name!r} is not")
            layers.append((width, tuple(max(1.0, value) for value in sums)))
    if not layers:
        raise StudyError(f"{score} needs a layer that stayed the same for {parameters.t0} epochs")
    return layers
