import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from hpo_gn.data import Split
from hpo_gn.errors import ArgumentError, ModelError, NonFiniteError
from hpo_gn.measures import MeanLoss, Sharpness, cross_entropy, landscape, measure
from hpo_gn.measures.subspace import RandomSubspace
from hpo_gn.registry import load
from hpo_gn.training import SupervisedTraining

METHODS = ["frank-wolfe", "l-bfgs-b"]
SHAPES = {"mlp": (1, 8, 8), "lenet5": (1, 28, 28), "resnet20": (3, 8, 8)}


def sharpness_of(model, data, loss=cross_entropy, **arguments) -> float:
    return measure(model, data, [Sharpness(**arguments)], loss=loss)["sharpness"]


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs.sum(dim=1) - targets).square()


def regression(features: int, seed: int, bias: bool = True) -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    """A linear model away from its minimum, whose squared error is convex in its parameters."""
    generator = torch.Generator().manual_seed(seed)
    model = nn.Linear(features, 1, bias=bias).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, generator=generator)
    inputs = torch.randn(9, features, generator=generator).double()
    return model, (inputs, torch.randint(5, (9,), generator=generator))


def enumerated(model, samples, epsilon, matrix=None) -> float:
    """φ of a convex loss: over a box, its maximum is at a vertex."""
    inputs, targets = samples
    x = nn.utils.parameters_to_vector(model.parameters()).detach()
    matrix = torch.eye(len(x), dtype=x.dtype) if matrix is None else matrix
    bound = epsilon * ((torch.linalg.pinv(matrix) @ x).abs() + 1)

    def mean_loss(y: Tensor) -> float:
        parts = (x + matrix @ y).split([parameter.numel() for parameter in model.parameters()])
        named = dict(zip(dict(model.named_parameters()), parts, strict=True))
        named = {name: part.view_as(model.get_parameter(name)) for name, part in named.items()}
        return squared_error(torch.func.functional_call(model, named, inputs), targets).mean().item()

    start = mean_loss(torch.zeros_like(bound))
    signs = itertools.product([-1.0, 1.0], repeat=len(bound))
    highest = max(mean_loss(bound * bound.new_tensor(each)) for each in signs)
    return 100 * (highest - start) / (1 + start)


@pytest.mark.parametrize("epsilon", [1e-3, 0.05])
@pytest.mark.parametrize(("features", "bias"), [(2, False), (2, True), (3, True), (5, True)])
@pytest.mark.parametrize("method", METHODS)
def test_it_equals_the_highest_vertex_of_a_convex_loss(method, features, bias, epsilon):
    for seed in range(3):
        model, samples = regression(features, seed, bias)
        expected = enumerated(model, samples, epsilon)
        value = sharpness_of(model, samples, squared_error, epsilon=epsilon, method=method)
        assert value == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("dimensions", [1, 3, 6])
@pytest.mark.parametrize("method", METHODS)
def test_in_a_subspace_it_equals_the_highest_vertex_of_a_dense_matrix(method, dimensions):
    for seed in range(3):
        model, samples = regression(7, seed)
        x = nn.utils.parameters_to_vector(model.parameters()).detach()
        space = RandomSubspace(x, dimensions, seed)
        matrix = torch.stack([space.step(unit) for unit in torch.eye(dimensions).double()], dim=1)
        arguments = {"epsilon": 0.01, "subspace": dimensions, "seed": seed, "samples": None}
        value = sharpness_of(model, samples, squared_error, method=method, **arguments)
        assert value == pytest.approx(enumerated(model, samples, 0.01, matrix), rel=1e-6)


def trained(name: str) -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    """A network after a few steps, and samples for it."""
    torch.manual_seed(0)
    shape = SHAPES[name]
    model: nn.Module = load("model", name)(shape, 10)
    inputs, targets = torch.randn(32, *shape), torch.randint(10, (32,))
    split = Split(inputs, targets, torch.zeros(shape[0]), torch.ones(shape[0]))
    settings = {"batch_size": 8, "learning_rate": 0.02, "momentum": 0.9, "weight_decay": 5e-4}
    training = SupervisedTraining(model, split, **settings, epochs=4)
    for _ in range(4):
        training.run_epoch()
    return model, (inputs, targets)


@pytest.mark.parametrize("epsilon", [1e-3, 5e-4])
@pytest.mark.parametrize("name", SHAPES)
def test_frank_wolfe_finds_what_ten_l_bfgs_b_iterations_find(name, epsilon):
    model, samples = trained(name)
    ours, theirs = (sharpness_of(model, samples, epsilon=epsilon, method=method) for method in METHODS)
    assert theirs > 0.1
    assert ours >= 0.995 * theirs


@pytest.mark.parametrize("name", SHAPES)
def test_in_subspaces_it_does_so_on_average(name):
    """Each climb may end at another local maximum."""
    model, samples = trained(name)
    ours, theirs = (
        sum(sharpness_of(model, samples, subspace=20, seed=seed, method=method) for seed in range(5))
        for method in METHODS
    )
    assert ours >= 0.99 * theirs > 0


@pytest.mark.parametrize("method", METHODS)
def test_a_sharper_minimum_has_a_larger_value(method):
    """f = c(w − 1)² at w = 1.01, where f(x) is all but 0."""
    values = []
    for curvature in (1.0, 10.0, 100.0):
        model = nn.Linear(1, 1, bias=False).double()
        nn.init.constant_(model.weight, 1.01)
        samples = (torch.full((4, 1), curvature**0.5, dtype=torch.float64), torch.ones(4, dtype=torch.int64))
        loss = lambda outputs, targets, c=curvature: (outputs[:, 0] - c**0.5 * targets.double()).square()  # noqa: E731
        values.append(sharpness_of(model, samples, loss, epsilon=1e-2, method=method))
        moved = 0.01 + 1e-2 * 2.01
        expected = 100 * curvature * (moved**2 - 1e-4) / (1 + curvature * 1e-4)
        assert values[-1] == pytest.approx(expected, rel=1e-9)
    assert values == sorted(values)


def test_a_minimum_with_no_slope_at_all_is_measured():
    model = nn.Linear(2, 1).double()
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    samples = (torch.randn(5, 2).double(), torch.zeros(5, dtype=torch.int64))
    assert sharpness_of(model, samples, squared_error, epsilon=0.1) > 0


@pytest.mark.parametrize("subspace", [None, 4])
@pytest.mark.parametrize("size", [1, 5, 13])
def test_batches_and_pieces_of_any_size_give_the_same(head, samples, size, subspace, monkeypatch):
    model = head()
    expected = sharpness_of(model, samples, subspace=subspace, samples=None)
    monkeypatch.setattr(landscape, "_PIECE", 3)
    batches = list(zip(*(part.split(size) for part in samples), strict=True))
    assert sharpness_of(model, batches, subspace=subspace, samples=None) == pytest.approx(expected, rel=1e-9)


def test_a_subset_is_drawn_from_the_seed(head, samples):
    model = head()
    values = [sharpness_of(model, samples, samples=6, seed=seed) for seed in (0, 0, 1)]
    assert values[0] == values[1] != values[2]
    assert sharpness_of(model, samples, samples=13, seed=1) == sharpness_of(model, samples, samples=None)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("subspace", [None, 4])
def test_the_model_is_left_as_it_was(head, samples, method, subspace):
    model = head().train()
    model.head.bias.grad = torch.ones(3).double()
    model.body[0].bias.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    sharpness_of(model, samples, method=method, subspace=subspace)
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert model.body[1].training
    assert [each.requires_grad for each in model.parameters()] == [True, False, True, True, True, True]
    assert torch.equal(model.head.bias.grad, torch.ones(3).double())
    assert model.head.weight.grad is None


@pytest.mark.parametrize("method", METHODS)
def test_the_model_is_left_as_it_was_when_it_raises_midway(head, samples, method):
    model = head()
    calls = itertools.count()

    def fail(*args: object) -> None:
        if next(calls) == 2:  # after the pass and f(x)
            raise RuntimeError("midway")

    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.head.register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="midway"):
        sharpness_of(model, samples, method=method)
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_it_takes_a_pass_for_f_and_one_an_iteration():
    model, samples = trained("mlp")
    row = measure(model, samples, [Sharpness(iterations=5), MeanLoss("train")])
    assert row.costs["sharpness"].forward == row.costs["sharpness"].backward == 6


def test_every_dtype_is_measured(head, samples):
    model, (inputs, targets) = head(), samples
    expected = sharpness_of(model, samples, epsilon=0.01)
    for dtype, tolerance in ((torch.float32, 1e-4), (torch.float16, 0.05), (torch.bfloat16, 0.3)):
        value = sharpness_of(model.to(dtype), (inputs.to(dtype), targets), epsilon=0.01)
        assert value == pytest.approx(expected, rel=tolerance)


def test_a_loss_that_explodes_within_the_box_gives_a_finite_value():
    model = nn.Linear(1, 1, bias=False).double()
    nn.init.ones_(model.weight)
    loss = lambda outputs, targets: torch.where(outputs > 1.012, torch.inf, outputs)[:, 0]  # noqa: E731
    samples = (torch.ones(3, 1).double(), torch.zeros(3, dtype=torch.int64))
    value = sharpness_of(model, samples, loss, epsilon=0.01)
    assert value == pytest.approx(100 * 0.012 / 2, rel=0.2)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_diverged_model_is_refused(head, samples, bad):
    model = head()
    nn.init.constant_(model.head.bias, bad)
    with pytest.raises(NonFiniteError, match=r"^the output of layer 'head' is not finite"):
        sharpness_of(model, samples)


def test_a_frozen_model_is_refused(head, samples):
    with pytest.raises(ModelError, match="sharpness needs a parameter that requires gradients"):
        sharpness_of(head().requires_grad_(False), samples)


def test_a_subspace_larger_than_the_model_is_refused(head, samples):
    with pytest.raises(ArgumentError, match="subspace must be at most 63, the number of parameters, got 100"):
        sharpness_of(head(), samples, subspace=100)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"epsilon": 0}, "epsilon must be a positive number, got 0"),
        ({"epsilon": -1e-3}, "epsilon must be a positive number, got -0.001"),
        ({"epsilon": math.nan}, "epsilon must be a positive number, got nan"),
        ({"epsilon": math.inf}, "epsilon must be a positive number, got inf"),
        ({"epsilon": "1e-3"}, "epsilon must be a positive number, got '1e-3'"),
        ({"subspace": 0}, "subspace must be a positive integer or None, got 0"),
        ({"subspace": 2.5}, "subspace must be a positive integer or None, got 2.5"),
        ({"iterations": 0}, "iterations must be a positive integer, got 0"),
        ({"iterations": None}, "iterations must be a positive integer, got None"),
        ({"samples": -1}, "samples must be a positive integer or None, got -1"),
        ({"method": "newton"}, "method must be 'frank-wolfe' or 'l-bfgs-b', got 'newton'"),
        ({"seed": -1}, "seed must be an integer of at least 0, got -1"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ArgumentError) as caught:
        Sharpness(**arguments)
    assert str(caught.value) == message


def test_it_is_a_value():
    assert Sharpness() == Sharpness()
    assert Sharpness(epsilon=5e-4) != Sharpness()
    assert hash(Sharpness(subspace=100)) == hash(Sharpness(subspace=100))


def test_no_batch_gives_no_number():
    assert math.isnan(Sharpness().compute()["sharpness"])
