"""A learning curve as a power law: its least-squares fit and where it leads."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

Array = npt.NDArray[np.float64]

_LOWEST, _HIGHEST, _GRID = 0.05, 5.0, 32  # exponents
_ROUNDS = 3


@dataclass(frozen=True)
class PowerLaw:
    """y(t) = a + b t^(−c), b ≥ 0.

    Args:
        a: what y tends to.
        b: how far above a it is at t = 1; 0 for a constant.
        c: how fast it falls, from 0.05 to 5.
    """

    a: float
    b: float
    c: float

    def __call__(self, t: npt.ArrayLike) -> Array:
        """y at times of any shape."""
        return self.a + self.b * np.asarray(t, dtype=np.float64) ** -self.c

    @classmethod
    def fit(cls, t: Array, y: Array) -> "PowerLaw":
        """The one with the least squares.

        a and b are exact for each c of a grid; the grid is then laid anew between the neighbours of the best.
        Where no falling curve is better than a constant, as where y rises, the fit is y's mean.

        Args:
            t: times from 1 on, rising, shape (n,).
            y: values, shape (n,).
        """
        log_t = np.log(t / t[0])  # b t^(−c) = (b t₀^(−c)) (t / t₀)^(−c): late times do not vanish
        low, high = np.log(_LOWEST), np.log(_HIGHEST)
        for _ in range(_ROUNDS):
            log_c = np.linspace(low, high, _GRID)
            x = np.exp(-np.outer(np.exp(log_c), log_t))  # [c, n]
            means = x.mean(1)
            x -= means[:, None]
            moments = np.maximum(x @ (y - y.mean()), 0.0)
            slopes = moments / np.square(x).sum(1)
            best = int(np.argmax(slopes * moments))  # by what the squares lose to it
            low, high = log_c[max(best - 1, 0)], log_c[min(best + 1, _GRID - 1)]
        slope, c = float(slopes[best]), float(np.exp(log_c[best]))
        if not slope > 0:
            return cls(float(y.mean()), 0.0, 1.0)
        return cls(float(y.mean() - slope * means[best]), float(slope * t[0] ** c), c)


@dataclass(frozen=True)
class Forecast:
    """A value to come.

    Args:
        value: what the curve says.
        margin: that the value is above `value` − `margin` has the confidence that was asked for.
    """

    value: float
    margin: float

    @classmethod
    def of(cls, t: Array, y: Array, at: float, confidence: float) -> "Forecast":
        """Where a curve leads.

        The margin is Student's quantile times the standard error of a new value: residual variance ×
        (1 + gᵀ(JᵀJ)⁻¹g), J the fit's derivatives by its parameters at t, g the same at the time to come.

        Args:
            t: times from 1 on, rising, shape (n,), n > 3.
            y: values, shape (n,).
            at: the time to come.
            confidence: one-sided, from 0.5 to 1.
        """
        law = PowerLaw.fit(t, y)
        jacobian = _derivatives(law, t / t[0])  # [n, p]
        freedom = len(t) - jacobian.shape[1]
        variance = np.square(y - law(t)).sum() / freedom
        triangle = np.linalg.qr(jacobian)[1]
        lever = np.linalg.solve(triangle.T, _derivatives(law, np.array([at / t[0]]))[0])
        error = np.sqrt(variance * (1 + lever @ lever))
        return cls(float(law(at)), float(stdtrit(freedom, confidence) * error))


def _derivatives(law: PowerLaw, u: Array) -> Array:
    """By a, b and c up to factors, which cancel in the standard error, shape (n, 3); (n, 1) of a constant."""
    if law.b == 0:
        return np.ones((len(u), 1))
    x = u**-law.c
    return np.stack((np.ones_like(u), x, x * np.log(u)), axis=1)
