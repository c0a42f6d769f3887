import math

import pytest
import torch
from torch import Tensor, nn

from hpo_gn.errors import NonFiniteError
from hpo_gn.measures import AGN, GN, GSNR, MeanLoss, SameSign, cross_entropy, measure
from hpo_gn.measures.initialization import GradSign

# What NaN would turn into a number.
REFUSING = pytest.mark.parametrize("kind", [GSNR, SameSign, GradSign])


class Roots(nn.Module):
    """Roots of negative numbers, without a layer of their own."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = (-1 - self.model(inputs).square()).sqrt()
        return logits


@pytest.fixture
def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 6), nn.ReLU(), nn.Sequential(nn.Linear(6, 6), nn.ReLU()), nn.Linear(6, 3)
    ).double()


@REFUSING
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("layer", ["0", "2.0", "3"])
def test_the_first_layer_that_is_not_finite_is_named(layer, value, kind, model, samples):
    with torch.no_grad():
        model.get_submodule(layer).bias[1] = value
    with pytest.raises(NonFiniteError) as error:
        measure(model, samples, [kind()])
    assert str(error.value) == f"the output of layer {layer!r} is not finite: the training diverged"


@REFUSING
def test_a_loss_that_no_layer_explains_is_named_itself(kind, model, samples):
    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        return cross_entropy(logits, targets) * math.nan

    cases = [(Roots(model), {}), (model, {"loss": loss})]
    for each, options in cases:
        with pytest.raises(NonFiniteError) as error:
            measure(each, samples, [kind()], **options)
        assert str(error.value) == "the loss is not finite: the training diverged"


class Length(nn.Module):
    """‖x‖ at 0: finite, with a gradient that is not."""

    def forward(self, inputs: Tensor) -> Tensor:
        lengths: Tensor = (inputs - inputs.detach()).square().sum(dim=1, keepdim=True).sqrt()
        return inputs + lengths


@REFUSING
def test_a_gradient_that_is_not_finite_though_the_loss_is_is_named(kind, model, samples):
    model.insert(3, Length())
    with pytest.raises(NonFiniteError, match=r"the gradient of .*'2\.0\.(weight|bias)' is not finite"):
        measure(model, samples, [kind()])


@pytest.mark.parametrize(
    ("kind", "column"), [(AGN, "agn"), (GN, "gn"), (lambda: MeanLoss("train"), "train_loss")]
)
def test_what_is_a_plain_sum_becomes_nan(kind, column, model, samples):
    """So that a trial whose training diverged has a row."""
    nn.init.constant_(model[0].weight, torch.nan)
    assert math.isnan(measure(model, samples, [kind()])[column])


@REFUSING
def test_a_refused_pass_leaves_nothing_behind(kind, model, samples):
    each = kind()
    expected = measure(model, samples, [kind()])
    inputs, targets = samples
    batches = [(inputs[:5], targets[:5]), (inputs[5:] * math.nan, targets[5:])]
    with pytest.raises(NonFiniteError):
        measure(model, {"train": batches}, [each])
    assert measure(model, samples, [each]) == expected
