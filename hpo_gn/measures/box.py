"""The largest value of a function over a box |y_j| ≤ b_j around the origin."""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Function = Callable[[Tensor], tuple[float, Tensor]]
"""y [p] → f(y) and its gradient [p]."""


def frank_wolfe(function: Function, bound: Tensor, iterations: int) -> tuple[float, float]:
    """Climb from the origin by Frank–Wolfe steps of full length.

    Over the box, the linearization of f at y is largest at the vertex v = sign(∇f(y)) · b. Each iteration
    goes there all the way: f(v) ≥ f(y) where f is convex, and a network's loss nearly is in a small box. If
    f(v) is not above f(y), or not finite, the next iteration goes half as far from y. A coordinate whose
    derivative is 0 goes to one of its ends too, so that the climb leaves a stationary point.

    Args:
        function: f; called 1 + `iterations` times, or less often if y is the vertex its gradient points to.
        bound: b, [p].
        iterations: steps.

    Returns:
        f(0), and the largest finite value met; f(0) twice if that is not finite.
    """
    point = torch.zeros_like(bound)
    start, gradient = function(point)
    highest, length = start, 1.0
    for _ in range(iterations):
        way = bound.copysign(gradient) - point
        if not way.any():
            break
        candidate = point + length * way
        value, slope = function(candidate)
        if math.isfinite(value) and value > highest:
            highest, point, gradient, length = value, candidate, slope, 1.0
        else:
            length /= 2
    return start, highest


def l_bfgs_b(function: Function, bound: Tensor, iterations: int) -> tuple[float, float]:
    """Climb from the origin by scipy's L-BFGS-B, in float64.

    It stays at the origin if that is a stationary point, and ends at a value that is not finite.

    Args:
        function: f; called once an iteration or, where a line search needs it, more often.
        bound: b, [p].
        iterations: at most. The tolerances of f and of its gradient are 0, since a small box meets any other.

    Returns:
        f(0), and the largest finite value met; f(0) twice if that is not finite.
    """
    from scipy.optimize import Bounds, minimize  # takes 0.4 s, and few need it

    values: list[float] = []

    def negative(y: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        value, gradient = function(torch.from_numpy(y).to(bound))
        values.append(value)
        return -value, -gradient.double().cpu().numpy()

    ends = bound.double().cpu().numpy()
    minimize(
        negative,
        np.zeros(len(ends)),
        jac=True,
        method="L-BFGS-B",
        bounds=Bounds(-ends, ends),
        options={"maxiter": iterations, "ftol": 0.0, "gtol": 0.0},
    )
    return values[0], max(values[:1] + [value for value in values if math.isfinite(value)])
