"""What holds of all measures that a pass gives."""

import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

import pytest
import torch
from torch import nn

from hpo_gn.errors import ModelError
from hpo_gn.measures import (
    AGN,
    GN,
    GSNR,
    Accuracy,
    Majority,
    MeanLoss,
    PredictionEntropy,
    Row,
    SameSign,
    cross_entropy,
    measure,
)
from hpo_gn.measures.initialization import GradSign

MEASURES = [
    AGN(),
    MeanLoss("train"),
    Accuracy("train"),
    PredictionEntropy("train"),
    Majority("train"),
    GN(),
    GSNR(per_layer=True),
    SameSign(),
    GradSign("eval"),
]
SMALL = pytest.mark.parametrize("name", ["lenet5", "densenet", "transformer"])


def of_certain_signs(example):
    """Without attention's biases, a third of whose gradients are 0 but for rounding."""
    for name, parameter in example.model.named_parameters():
        parameter.requires_grad_(not name.endswith("in_proj_bias"))
    return example


def rows_of(example, *sizes: int) -> Iterator[Row]:
    for size in sizes:
        yield measure(example.model, example.batches(size), MEASURES)


@SMALL
def test_the_result_does_not_depend_on_the_batch_size(name, example_of):
    whole, *others = rows_of(of_certain_signs(example_of(name)), 8, 1, 3, 7)
    for row in others:
        assert row == pytest.approx(whole, rel=1e-9, abs=0)


def in_single_precision(example):
    inputs = example.inputs.float() if example.inputs.is_floating_point() else example.inputs
    return example.model.float(), (inputs, example.targets)


@SMALL
def test_single_precision_agrees_with_double(name, example_of):
    (expected,) = rows_of(of_certain_signs(example_of(name)), 8)
    model, data = in_single_precision(of_certain_signs(example_of(name)))
    row = measure(model, data, MEASURES)
    assert row.keys() == expected.keys()
    for column, value in row.items():
        # GSNR divides by variances, which are differences of sums.
        digits = 0.05 if column.startswith("gsnr") else 1e-3 if column == "grad_sign" else 1e-4
        assert value == pytest.approx(expected[column], rel=digits), column


@SMALL
def test_autocast_agrees_with_single_precision(name, example_of):
    model, data = in_single_precision(of_certain_signs(example_of(name)))
    measures = [AGN(), MeanLoss("train"), GN(), SameSign()]
    expected = measure(model, data, measures)
    with torch.autocast("cpu", torch.bfloat16):
        assert measure(model, data, measures) == pytest.approx(expected, rel=0.05)


OPAQUE = {
    "attention": lambda: nn.TransformerEncoderLayer(6, 2, 8, dropout=0.0, batch_first=True),
    "PReLU": lambda: nn.PReLU(),
    "weight norm": lambda: nn.utils.parametrizations.weight_norm(nn.Linear(6, 6)),
    "a scale": lambda: Scale(),
}


class Scale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale, self.layer = nn.Parameter(torch.linspace(0.5, 1, 6)), nn.Linear(6, 6)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.scale * self.layer(inputs)


@pytest.mark.parametrize("make", OPAQUE.values(), ids=OPAQUE)
def test_autocast_holds_for_single_samples_that_run_again(make):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 6), make(), nn.Flatten(), nn.Linear(24, 3))
    data = torch.randn(9, 4, 6), torch.randint(3, (9,))
    expected = measure(model, data, [GN()])
    with torch.autocast("cpu", torch.bfloat16):
        assert measure(model, data, [GN()]) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_models_are_measured(dtype, example_of):
    example = example_of("lenet5")
    measures = [AGN(), MeanLoss("train"), GN(), SameSign()]
    expected = measure(example.model, (example.inputs, example.targets), measures)
    model, data = example.model.to(dtype), (example.inputs.to(dtype), example.targets)
    assert measure(model, data, measures) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.no_grad, torch.enable_grad, nullcontext])
@pytest.mark.parametrize("inside", [True, False], ids=["own inputs", "inputs from outside"])
def test_the_callers_gradient_mode_does_not_matter(mode, inside, example_of):
    """Validation loops, where one measures, often run in inference mode."""
    example = example_of("lenet5")
    (expected,) = rows_of(example, 8)
    context: AbstractContextManager[object] = mode()
    with context:
        data = example.inputs, example.targets
        if inside:
            data = data[0].clone(), data[1].clone()
        assert measure(example.model, data, MEASURES) == expected


@pytest.mark.parametrize("each", MEASURES, ids=lambda each: type(each).__name__)
def test_a_loss_that_is_already_reduced_is_refused(each, head, samples):
    with pytest.raises(ModelError) as error:
        measure(head(), samples, [each], loss=lambda logits, targets: cross_entropy(logits, targets).mean())
    # The number of samples is that of the pass.
    assert re.fullmatch(
        r"loss must give one number a sample, \[\d+\], got \[\]: use reduction='none'", str(error.value)
    )


@pytest.mark.parametrize("training", [True, False])
def test_the_models_mode_does_not_matter(training, example_of):
    example = example_of("densenet")
    (expected,) = rows_of(example, 8)
    example.model.train(training)
    assert [*rows_of(example, 8)] == [expected]
