import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from hpo_gn.errors import ArgumentError, DataError, ModelError, NonFiniteError
from hpo_gn.measures.batch import cross_entropy
from hpo_gn.measures.moments import Moments
from hpo_gn.measures.osgr import gradient_moments, osgr_from_gradients, osgr_from_losses

SETS = 3
SAMPLES = 6


def squared_error(logits: Tensor, targets: Tensor) -> Tensor:
    return (logits - functional.one_hot(targets, logits.shape[1])).square().sum(dim=1)


LOSSES = {"cross entropy": cross_entropy, "squared error": squared_error}


def network(seed: int) -> nn.Module:
    """Smooth, so that no gradient is 0."""
    torch.manual_seed(seed)
    layers = nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(8, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)
    return nn.Sequential(*layers).double()


def draw(samples: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(samples, 1, 4, 4, generator=generator, dtype=torch.float64)
    return inputs, torch.randint(3, (samples,), generator=generator)


def gradients_one_by_one(model, inputs, targets, loss) -> list[list[float]]:
    """Literally: each sample's gradient of all parameters, one number after the other."""
    model.eval()
    rows = []
    for index in range(len(targets)):
        value = loss(model(inputs[index : index + 1]), targets[index : index + 1]).sum()
        gradients = torch.autograd.grad(value, list(model.parameters()))
        rows.append(torch.cat([each.flatten() for each in gradients]).tolist())
    return rows


def mean(numbers: list[float]) -> float:
    return math.fsum(numbers) / len(numbers)


def twin(sets: list[list[list[float]]]) -> dict[str, float]:
    """Equations 17 to 20 with the estimates of 22, from per-sample gradients [M][n][Q]."""
    n, parameters = len(sets[0]), range(len(sets[0][0]))
    squared_means, variances = [], []
    for q in parameters:
        columns = [[row[q] for row in rows] for rows in sets]
        squared_means.append(mean([mean(column) ** 2 for column in columns]))  # equation 22, left
        variances.append(mean([mean([(g - mean(column)) ** 2 for g in column]) for column in columns]))
    total = math.fsum(squared_means)
    weights = [each / total for each in squared_means]  # as ΔL_q = λ k_q²
    # E[k²] = ρ²/n + μ² gives the r_q = μ²/ρ² that equations 19 and 20 speak of.
    ratios = [(k2 - rho2 / n) / rho2 for k2, rho2 in zip(squared_means, variances, strict=True)]
    each_q = list(zip(weights, squared_means, variances, ratios, strict=True))
    return {
        "17": 1 - math.fsum(variances) / (n * total),
        "18": 1 - math.fsum(w * rho2 / k2 for w, k2, rho2, _ in each_q) / n,
        "19": 1 - math.fsum(k2 / total / (r + 1 / n) for _, k2, _, r in each_q) / n,
        "20": 1 - math.fsum(w / (r + 1 / n) for w, _, _, r in each_q) / n,
    }


@pytest.fixture(scope="module", params=LOSSES)
def sides(request) -> tuple[float, dict[str, float]]:
    """The right side by the function and by its twin, of models and sets that differ."""
    loss = LOSSES[request.param]
    models, sets = [network(seed) for seed in range(SETS)], [draw(SAMPLES, seed) for seed in range(SETS)]
    pairs = list(zip(models, sets, strict=True))
    found = osgr_from_gradients([gradient_moments(model, each, loss=loss) for model, each in pairs])
    return found, twin([gradients_one_by_one(model, *each, loss) for model, each in pairs])


@pytest.mark.parametrize("equation", ["17", "18", "19", "20"])
def test_the_right_side_equals_each_form_of_the_equation(equation, sides):
    found, expected = sides
    assert found == pytest.approx(expected[equation], rel=1e-12, abs=1e-12)


def test_one_training_set_is_enough():
    model, samples = network(0), draw(SAMPLES, 0)
    expected = twin([gradients_one_by_one(model, *samples, cross_entropy)])["17"]
    assert osgr_from_gradients([gradient_moments(model, samples)]) == pytest.approx(expected, rel=1e-12)


def test_moments_are_those_of_a_loop_over_single_samples():
    model, samples = network(0), draw(SAMPLES, 0)
    rows = torch.tensor(gradients_one_by_one(model, *samples, cross_entropy), dtype=torch.float64)
    moments = gradient_moments(model, samples)
    names = [name for name, _ in model.named_parameters()]
    for found, expected in (
        (moments.mean, rows.mean(dim=0)),
        (moments.variance, rows.var(dim=0, correction=0)),
    ):
        flat = torch.cat([found[name].flatten() for name in names])
        torch.testing.assert_close(flat, expected, rtol=1e-10, atol=1e-14)
    assert moments.samples == SAMPLES
    assert {name: each.shape for name, each in moments.mean.items()} == {
        name: each.shape for name, each in model.named_parameters()
    }


def test_moments_do_not_depend_on_how_the_samples_are_batched():
    model, (inputs, targets) = network(0), draw(SAMPLES, 0)
    whole = gradient_moments(model, (inputs, targets))
    parts = gradient_moments(model, list(zip(inputs.split(4), targets.split(4), strict=True)))
    assert parts.samples == whole.samples
    for name in whole.mean:
        torch.testing.assert_close(parts.mean[name], whole.mean[name])
        torch.testing.assert_close(parts.variance[name], whole.variance[name])


def test_taking_moments_leaves_the_model_as_it_was():
    model = network(0).train()
    before = {name: each.clone() for name, each in model.state_dict().items()}
    gradient_moments(model, draw(SAMPLES, 0))
    assert model.training
    assert all(parameter.grad is None for parameter in model.parameters())
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


def test_parameters_without_gradients_are_passed_over():
    model = network(0)
    model[0].requires_grad_(False)
    assert set(gradient_moments(model, draw(SAMPLES, 0)).mean) == {
        "3.weight",
        "3.bias",
        "4.weight",
        "4.bias",
        "5.weight",
        "5.bias",
    }


def test_the_left_side_is_the_ratio_of_summed_differences():
    generator = torch.Generator().manual_seed(0)
    train, test = torch.rand(2, 4, 5, generator=generator).tolist()
    expected = [
        sum(row[t + 1] - row[t] for row in test) / sum(row[t + 1] - row[t] for row in train) for t in range(4)
    ]
    found = osgr_from_losses(torch.tensor(train), torch.tensor(test))
    assert found.dtype == torch.float64
    assert found.tolist() == pytest.approx(expected, rel=1e-6)


def test_the_left_side_of_losses_that_stand_still_is_no_number():
    still, moving = torch.ones(2, 2), torch.tensor([[1.0, 2.0], [1.0, 2.0]])
    assert osgr_from_losses(still, still).isnan().all()
    assert osgr_from_losses(still, moving).isinf().all()


def mean_loss(model: nn.Module, samples: tuple[Tensor, Tensor]) -> float:
    with torch.no_grad():
        return cross_entropy(model(samples[0]), samples[1]).mean().item()


def one_step(sets: int, samples: int, learning_rate: float) -> tuple[Tensor, Tensor, list[Moments]]:
    """Losses before and after one step from common weights [sets, 2], on training sets drawn with replacement
    from a population and on that population, and the moments of each set.
    """
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(500, 4, generator=generator, dtype=torch.float64)
    targets = (inputs[:, 0] + torch.randn(500, generator=generator) > 0).long()
    torch.manual_seed(1)
    model = nn.Linear(4, 2).double()
    weights = {name: each.clone() for name, each in model.state_dict().items()}
    test_before = mean_loss(model, (inputs, targets))
    train, test, moments = [], [], []
    for _ in range(sets):
        index = torch.randint(500, (samples,), generator=generator)
        drawn = inputs[index], targets[index]
        model.load_state_dict(weights)
        moments.append(gradient_moments(model, drawn))
        train_before = mean_loss(model, drawn)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter -= learning_rate * moments[-1].mean[name]
        train.append([train_before, mean_loss(model, drawn)])
        test.append([test_before, mean_loss(model, (inputs, targets))])
    return torch.tensor(train, dtype=torch.float64), torch.tensor(test, dtype=torch.float64), moments


def test_both_sides_agree_in_expectation():
    """The population variance of n samples is on average (n − 1)/n of the distribution's, and so is the right
    side's distance from 1.
    """
    n, learning_rate = 4, 1e-6
    train, test, sets = one_step(600, n, learning_rate)
    left, right = osgr_from_losses(train, test).item(), osgr_from_gradients(sets)
    power = torch.tensor([sum(each.square().sum() for each in one.mean.values()) for one in sets])
    noise = torch.tensor([sum(each.sum() for each in one.variance.values()) for one in sets])
    # What each set adds to the difference below, whose expectation is 0.
    parts = (1 - 1 / n) * (test - train).diff().squeeze(1) / learning_rate - noise / n
    error = (parts.std() / math.sqrt(len(sets)) / power.mean()).item()
    assert error < 0.02
    assert 1 - right == pytest.approx((1 - 1 / n) * (1 - left), abs=4 * error)
    assert 1 - right != pytest.approx(1 - left, abs=4 * error)


def moments_of(samples: int, mean: float = 1.0, variance: float = 1.0) -> Moments:
    return Moments(samples, {"q": torch.tensor([mean]).double()}, {"q": torch.tensor([variance]).double()})


def test_the_right_side_where_all_gradients_are_zero_is_no_number():
    assert math.isnan(osgr_from_gradients([moments_of(5, mean=0.0, variance=0.0)]))


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ([], "sets must be gradient moments of sets of one size, got []"),
        ([5, 7, 5], "sets must be gradient moments of sets of one size, got [5, 7]"),
    ],
)
def test_the_right_side_needs_sets_of_one_size(sets, message):
    with pytest.raises(ArgumentError) as raised:
        osgr_from_gradients([moments_of(samples) for samples in sets])
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ([3], [3], "train must be losses [M, T + 1] with at least one step, got [3]"),
        ([3, 1], [3, 1], "train must be losses [M, T + 1] with at least one step, got [3, 1]"),
        ([3, 2], [3, 3], "test must be of train's shape [3, 2], got [3, 3]"),
    ],
)
def test_the_left_side_needs_a_step_and_equal_shapes(train, test, message):
    with pytest.raises(ArgumentError) as raised:
        osgr_from_losses(torch.zeros(train), torch.zeros(test))
    assert str(raised.value) == message


def frozen(model: nn.Module) -> nn.Module:
    return model.requires_grad_(False)


def diverged(model: nn.Module) -> nn.Module:
    with torch.no_grad():
        model[3].bias.fill_(math.nan)
    return model


@pytest.mark.parametrize(
    ("change", "data", "error", "message"),
    [
        (nn.Module.eval, [], DataError, "the train split is empty"),
        (frozen, draw(4, 0), ModelError, "no parameter of Sequential that is measured requires gradients"),
        (
            diverged,
            draw(4, 0),
            NonFiniteError,
            "the output of layer '3' is not finite: the training diverged",
        ),
    ],
    ids=["empty", "frozen", "diverged"],
)
def test_moments_that_cannot_be_taken(change, data, error, message):
    with pytest.raises(error) as raised:
        gradient_moments(change(network(0)), data)
    assert str(raised.value) == message
