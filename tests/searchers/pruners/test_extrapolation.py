"""The power law that a curve is continued with: exact on exact curves, and SciPy's fit on rough ones."""

import numpy as np
import pytest
from scipy.optimize import curve_fit
from scipy.stats import t as student

from hpo_gn.searchers.pruners._extrapolation import Forecast, PowerLaw

EXACT = [(0.3, 0.5, 0.1), (0.3, 0.5, 0.5), (-0.9, 0.7, 1.0), (2.0, 1e-3, 2.0), (0.0, 100.0, 0.7)]
TIMES = [(1, 5), (1, 9), (1, 161), (5, 20)]


def rough(law: PowerLaw, n: int, seed: int, noise: float = 0.01) -> tuple[np.ndarray, np.ndarray]:
    t = np.arange(1.0, n + 1)
    return t, law(t) + noise * np.random.default_rng(seed).standard_normal(n)


def scipys(t: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Parameters and covariance of the best of SciPy's fits from several starts."""
    bounds = ([-np.inf, 0.0, 0.05], [np.inf, np.inf, 5.0])
    fits = []
    for c in (0.1, 0.3, 1.0, 2.0):
        start = (y.min(), max(float(np.ptp(y)), 1e-3), c)
        fits.append(curve_fit(lambda t, a, b, c: a + b * t**-c, t, y, start, bounds=bounds, maxfev=20000))
    return min(fits, key=lambda fit: squares(PowerLaw(*fit[0]), t, y))


def squares(law: PowerLaw, t: np.ndarray, y: np.ndarray) -> float:
    return float(np.square(y - law(t)).sum())


@pytest.mark.parametrize(("a", "b", "c"), EXACT)
@pytest.mark.parametrize(("first", "end"), TIMES)
def test_an_exact_curve_gives_its_parameters_and_its_future(a, b, c, first, end):
    t = np.arange(first, end, dtype=np.float64)
    law = PowerLaw(a, b, c)
    fitted = PowerLaw.fit(t, law(t))
    assert (fitted.b, fitted.c) == pytest.approx((b, c), rel=2e-3)
    assert fitted.a == pytest.approx(a, abs=2e-3 * b)
    ahead = Forecast.of(t, law(t), 200.0, 0.95)
    assert ahead.value == pytest.approx(law(200.0), abs=1e-3 * b)
    assert ahead.margin < 1e-2 * b


@pytest.mark.parametrize("n", [6, 16, 40, 160])
@pytest.mark.parametrize("seed", range(4))
def test_no_fit_of_scipys_has_smaller_squares(n, seed):
    t, y = rough(PowerLaw(0.3, 0.6, 0.7), n, seed)
    (a, b, c), _ = scipys(t, y)
    assert squares(PowerLaw.fit(t, y), t, y) <= squares(PowerLaw(a, b, c), t, y) * (1 + 1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_the_margin_is_that_of_scipys_covariance(seed):
    t, y = rough(PowerLaw(0.3, 0.6, 0.7), 24, seed)
    (a, b, c), covariance = scipys(t, y)
    derivatives = np.array([1.0, 48.0**-c, -b * 48.0**-c * np.log(48.0)])
    variance = squares(PowerLaw(a, b, c), t, y) / (len(t) - 3) + derivatives @ covariance @ derivatives
    ahead = Forecast.of(t, y, 48.0, 0.9)
    assert ahead.value == pytest.approx(PowerLaw(a, b, c)(48.0), abs=1e-3)
    assert ahead.margin == pytest.approx(student.ppf(0.9, len(t) - 3) * np.sqrt(variance), rel=0.02)


@pytest.mark.parametrize("n", [4, 6, 12])
def test_one_final_value_in_twenty_is_below_a_margin_of_95_percent(n):
    random = np.random.default_rng(0)
    laws = [PowerLaw(0.3, random.uniform(0.1, 1.0), random.uniform(0.2, 1.5)) for _ in range(1000)]
    below = 0
    for seed, law in enumerate(laws):
        ahead = Forecast.of(*rough(law, n, seed), at=16.0, confidence=0.95)
        below += law(16.0) + 0.01 * random.standard_normal() < ahead.value - ahead.margin
    assert 30 <= below <= 75


@pytest.mark.parametrize("y", [[0.1, 0.2, 0.3, 0.4, 0.5], [0.3] * 5, [0.3, 0.5, 0.4, 0.5, 0.4]])
def test_a_curve_that_does_not_fall_is_continued_as_its_mean(y):
    t, values = np.arange(1.0, 6.0), np.array(y)
    ahead = Forecast.of(t, values, 16.0, 0.95)
    assert ahead.value == pytest.approx(values.mean())
    assert ahead.margin == pytest.approx(student.ppf(0.95, 4) * values.std(ddof=1) * np.sqrt(1.2), abs=1e-12)


def test_a_curve_is_continued_alike_in_any_unit():
    t, y = rough(PowerLaw(0.3, 0.6, 0.7), 12, 0)
    one, thousand = Forecast.of(t, y, 16.0, 0.95), Forecast.of(t, 1000 * y - 7, 16.0, 0.95)
    assert (thousand.value, thousand.margin) == pytest.approx((1000 * one.value - 7, 1000 * one.margin))
