import itertools
import math

import pytest
import torch
from torch import Tensor

from hpo_gn.measures.box import frank_wolfe, l_bfgs_b

MAXIMIZERS = {"frank-wolfe": frank_wolfe, "l-bfgs-b": l_bfgs_b}
both = pytest.mark.parametrize("maximize", MAXIMIZERS.values(), ids=MAXIMIZERS)


class Quadratic:
    """f(y) = yᵀHy/2 + gᵀy, and the points at which it was asked for."""

    def __init__(self, hessian: Tensor, slope: Tensor) -> None:
        self.hessian, self.slope, self.points = hessian, slope, []

    def __call__(self, y: Tensor) -> tuple[float, Tensor]:
        self.points.append(y)
        bent = self.hessian @ y
        return float(y @ bent / 2 + self.slope @ y), bent + self.slope


def convex(dimensions: int, seed: int) -> tuple[Quadratic, Tensor]:
    """A convex quadratic with the origin on a slope of at least 1 in each direction, and a box."""
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(dimensions, dimensions, generator=generator).double()
    slope = torch.randn(dimensions, generator=generator).double()
    bound = 0.1 + torch.rand(dimensions, generator=generator).double()
    return Quadratic(root @ root.T, slope + slope.sign()), bound


def highest_vertex(function: Quadratic, bound: Tensor) -> float:
    """The maximum of a convex function over a box, which is at one of its vertices."""
    signs = itertools.product([-1.0, 1.0], repeat=len(bound))
    return max(function(bound * bound.new_tensor(each))[0] for each in signs)


@pytest.mark.parametrize("dimensions", [2, 3, 6])
@both
def test_a_convex_function_is_climbed_to_its_highest_vertex(maximize, dimensions):
    for seed in range(20):
        function, bound = convex(dimensions, seed)
        start, highest = maximize(function, bound / 20, 20)
        assert start == 0
        assert highest == pytest.approx(highest_vertex(function, bound / 20), rel=1e-9)


@both
def test_in_a_large_box_that_may_be_a_lower_vertex(maximize):
    shares = []
    for seed in range(20):
        function, bound = convex(6, seed)
        shares.append(maximize(function, bound, 20)[1] / highest_vertex(function, bound))
    assert min(shares) < 0.99
    assert max(shares) == pytest.approx(1, abs=1e-12)


@both
def test_no_point_leaves_the_box(maximize):
    function, bound = convex(6, 1)
    maximize(function, bound, 10)
    assert all((point.abs() <= bound).all() for point in function.points)


@both
def test_a_float32_function_gets_float32_points(maximize):
    function, bound = convex(3, 0)
    single = Quadratic(function.hessian.float(), function.slope.float())
    _, highest = maximize(single, bound.float(), 10)
    assert {point.dtype for point in single.points} == {torch.float32}
    assert highest == pytest.approx(maximize(function, bound, 10)[1], rel=1e-6)


@pytest.mark.parametrize("scale", [1e-12, 1.0])
@both
def test_a_small_box_is_climbed_too(maximize, scale):
    function, bound = convex(4, 3)
    linear = Quadratic(torch.zeros_like(function.hessian), function.slope)
    _, highest = maximize(linear, scale * bound, 10)
    assert highest == pytest.approx(scale * float(function.slope.abs() @ bound), rel=1e-12)


def test_frank_wolfe_calls_once_more_than_its_iterations():
    function = Quadratic(-torch.eye(2), torch.tensor([0.3, 0.1]))
    frank_wolfe(function, torch.ones(2), 7)
    assert len(function.points) == 8


def test_frank_wolfe_ends_at_a_vertex_that_its_gradient_points_to():
    function = Quadratic(torch.zeros(2, 2), torch.tensor([0.3, -0.1]))
    assert frank_wolfe(function, torch.ones(2), 7) == (0, pytest.approx(0.4))
    assert len(function.points) == 2


def test_frank_wolfe_leaves_a_stationary_point_and_l_bfgs_b_does_not():
    function, bound = Quadratic(2 * torch.eye(3), torch.zeros(3)), torch.tensor([1.0, 2.0, 3.0])
    assert frank_wolfe(function, bound, 1) == (0, 14)
    assert l_bfgs_b(function, bound, 1) == (0, 0)


def test_frank_wolfe_takes_shorter_steps_where_full_ones_descend():
    function = Quadratic(-2 * torch.eye(1), torch.tensor([0.5]))  # a maximum of 1/16 at 1/4
    assert frank_wolfe(function, torch.ones(1), 1) == (0, 0)
    assert frank_wolfe(function, torch.ones(1), 10)[1] == pytest.approx(1 / 16, rel=1e-3)


def test_frank_wolfe_takes_full_steps_again_after_a_shorter_one_that_ascended():
    values = iter([0.0, math.nan, 0.5, 1.0])
    points = []

    def function(y: Tensor) -> tuple[float, Tensor]:
        points.append(float(y))
        return next(values), torch.ones(1)

    assert frank_wolfe(function, torch.ones(1), 3) == (0, 1)
    assert points == [0, 1, 0.5, 1]


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan])
def test_a_value_that_is_not_finite_is_not_accepted(bad):
    def cliff(y: Tensor) -> tuple[float, Tensor]:
        """y, up to the cliff at 0.6."""
        beyond = float(y) > 0.6
        return (bad if beyond else float(y)), torch.full_like(y, math.nan if beyond else 1.0)

    assert frank_wolfe(cliff, torch.ones(1), 1) == (0, 0)
    assert frank_wolfe(cliff, torch.ones(1), 2) == (0, 0.5)
    assert frank_wolfe(cliff, torch.ones(1), 10)[1] == pytest.approx(0.6, abs=0.05)
    assert l_bfgs_b(cliff, torch.ones(1), 10) == (0, 0)


@pytest.mark.parametrize("bad", [math.inf, math.nan])
@both
def test_a_start_that_is_not_finite_is_given_back(maximize, bad):
    start, highest = maximize(lambda y: (bad, torch.full_like(y, math.nan)), torch.ones(2), 3)
    assert start == pytest.approx(bad, nan_ok=True)
    assert highest == pytest.approx(bad, nan_ok=True)
