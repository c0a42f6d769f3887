import functools

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.functional import one_hot

from hpo_gn.data import Split
from hpo_gn.measures import AGN, Batch, cross_entropy, measure
from hpo_gn.measures.last_linear import find_linear
from hpo_gn.registry import load
from hpo_gn.training import SupervisedTraining

SHAPES = {"mlp": (1, 28, 28), "lenet5": (1, 28, 28), "resnet20": (3, 16, 16)}


def mean_squared_error(logits: Tensor, targets: Tensor) -> Tensor:
    return (logits - one_hot(targets, logits.shape[1])).square().mean(dim=1)


def multi_margin(logits: Tensor, targets: Tensor) -> Tensor:
    return functional.multi_margin_loss(logits, targets, reduction="none")


def log_likelihood(logits: Tensor, targets: Tensor) -> Tensor:
    return functional.nll_loss(logits, targets, reduction="none")


LOSSES = {
    "cross entropy": cross_entropy,
    "smoothed": functools.partial(functional.cross_entropy, label_smoothing=0.1, reduction="none"),
    "squared error": mean_squared_error,
    "multi margin": multi_margin,
    "module": nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0]).double(), reduction="none"),
}


def agn_of(model, batches, loss=cross_entropy, layer=None) -> float:
    return measure(model, {"train": batches}, [AGN(layer)], loss=loss)["agn"]


def network(name: str, trained: bool) -> tuple[nn.Module, Tensor, Tensor]:
    """A network at its initial weights or after a few steps, in float64, and samples for it."""
    torch.manual_seed(0)
    shape = SHAPES[name]
    model: nn.Module = load("model", name)(shape, 10)
    inputs, targets = torch.randn(24, *shape), torch.randint(10, (24,))
    if trained:
        split = Split(inputs, targets, torch.zeros(shape[0]), torch.ones(shape[0]))
        settings = {"batch_size": 8, "learning_rate": 0.02, "momentum": 0.9, "weight_decay": 5e-4}
        training = SupervisedTraining(model, split, **settings, epochs=3)
        for _ in range(3):
            training.run_epoch()
    return model.double().eval(), inputs.double(), targets


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("name", SHAPES)
def test_it_equals_a_loop_of_autograd_over_single_samples(name, trained, agn_twin):
    model, inputs, targets = network(name, trained)
    expected = agn_twin(model, find_linear(model), inputs, targets, cross_entropy)
    batches = list(zip(inputs.split(7), targets.split(7), strict=True))
    assert agn_of(model, batches) == pytest.approx(expected, rel=1e-10, abs=0)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_it_holds_for_any_loss_of_one_samples_own_logits(loss, bias, head, samples, agn_twin):
    model = head(bias=bias).eval()
    expected = agn_twin(model, model.head, *samples, loss)
    assert agn_of(model, [samples], loss) == pytest.approx(expected, rel=1e-10, abs=0)


class Temperature(nn.Module):
    def forward(self, logits: Tensor) -> Tensor:
        return logits / 3


class TemperatureInPlace(nn.Module):
    def forward(self, logits: Tensor) -> Tensor:
        return logits.div_(3)


@pytest.mark.parametrize(
    ("after", "loss"),
    [
        (nn.LogSoftmax(dim=1), log_likelihood),
        (nn.LogSoftmax(dim=1), cross_entropy),
        (Temperature(), cross_entropy),
        (TemperatureInPlace(), cross_entropy),
        (nn.Sequential(nn.ReLU(inplace=True), nn.BatchNorm1d(3).double()), cross_entropy),
        (nn.Identity(), cross_entropy),
    ],
    ids=["log-softmax", "log-softmax twice", "temperature", "in place", "ReLU and batch norm", "identity"],
)
def test_it_is_the_linear_layers_whatever_comes_after(after, loss, head, samples, agn_twin):
    model = head(after).eval()
    expected = agn_twin(model, model.head, *samples, loss)
    assert agn_of(model, [samples], loss) == pytest.approx(expected, rel=1e-10, abs=0)


def test_a_named_layer_is_read_instead_of_the_last(head, samples, agn_twin):
    model = head().eval()
    expected = agn_twin(model, model.body[0], *samples, cross_entropy)
    assert agn_of(model, [samples], layer="body.0") == pytest.approx(expected, rel=1e-10, abs=0)
    assert agn_of(model, [samples]) != pytest.approx(expected, rel=0.01)


class Keyword(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.model.head(input=self.model.body(inputs))
        return logits


def test_the_layer_may_be_called_with_its_input_by_name(head, samples):
    model = head().eval()
    assert agn_of(Keyword(model), [samples]) == agn_of(model, [samples])


def fitted(gap: float, dtype: torch.dtype) -> tuple[nn.Module, Tensor, Tensor]:
    """A linear model of samples whose target's logit is `gap` above about all others."""
    generator = torch.Generator().manual_seed(3)
    targets = torch.randint(10, (50,), generator=generator)
    noise = torch.rand(50, 10, generator=generator) / 4
    inputs = (noise + gap * one_hot(targets, 10)).to(dtype)
    model = nn.Linear(10, 10).to(dtype)
    nn.init.eye_(model.weight)
    nn.init.zeros_(model.bias)
    return model, inputs, targets


def naive(model: nn.Linear, inputs: Tensor, targets: Tensor) -> float:
    """AGN from p − onehot(y), which cancels."""
    delta = model(inputs).softmax(dim=1) - one_hot(targets, 10)
    return (delta.square().sum(dim=1) * (inputs.square().sum(dim=1) + 1)).double().mean().item()


@pytest.mark.parametrize("gap", [5, 10, 15, 20, 25, 30])
def test_well_fitted_samples_keep_their_digits_in_float32(gap):
    single, double = fitted(gap, torch.float32), fitted(gap, torch.float64)
    # The same float32 inputs in both: what is compared is the arithmetic alone.
    double = (double[0], single[1].double(), single[2])
    expected = agn_of(double[0], [double[1:]])
    assert agn_of(single[0], [single[1:]]) == pytest.approx(expected, rel=1e-5, abs=0)
    assert expected > 0


def test_the_bound_on_well_fitted_samples_can_be_missed():
    for gap in (10, 15, 20, 30):
        single, double = fitted(gap, torch.float32), fitted(gap, torch.float64)
        expected = agn_of(double[0], [(single[1].double(), single[2])])
        assert naive(*single) != pytest.approx(expected, rel=1e-5, abs=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_models_are_measured_in_float32(dtype):
    model, inputs, targets = fitted(5, dtype)
    expected = agn_of(model.double(), [(inputs.double(), targets)])
    model, inputs, targets = fitted(5, dtype)
    assert agn_of(model, [(inputs, targets)]) == pytest.approx(expected, rel=0.05)


def test_it_is_a_value_named_by_its_layer():
    assert AGN() == AGN()
    assert AGN("head") != AGN()
    assert hash(AGN("head")) == hash(AGN("head"))
    assert repr(AGN("head")) == "AGN(linear_layer='head', samples=None, seed=0, split='train')"


def test_it_refuses_a_batch_of_a_pass_that_watches_no_layer(samples):
    inputs, targets = samples
    with pytest.raises(ValueError, match="AGN needs a pass that watches the last linear layer"):
        AGN().update(Batch(nn.Identity(), inputs, targets, inputs, cross_entropy(inputs, targets)))
