import math

import pytest
import torch
from torch import Tensor, nn

from hpo_gn.measures import GSNR, measure


def twin(gradients: dict[str, Tensor]) -> dict[str, float]:
    """r_q = μ_q² / ρ_q² by the definition, and the right side of equation 17."""
    samples = len(next(iter(gradients.values())))
    flat = torch.cat([each.flatten(1) for each in gradients.values()], dim=1)
    mean, variance = flat.mean(dim=0), flat.var(dim=0, correction=0)
    counts = variance > 1e-15 * flat.square().mean(dim=0)
    ratios = mean[counts].square() / variance[counts]
    return {
        "gsnr": ratios.mean().item(),
        "gsnr_left_out": (~counts).sum().item(),
        "osgr": 1 - (variance.sum() / (samples * mean.square().sum())).item(),
    }


def without_key_biases(example) -> dict[str, Tensor]:
    """An example's gradients but those of attention's biases, whose gradients are 0 but for rounding."""
    for name, parameter in example.model.named_parameters():
        parameter.requires_grad_(not name.endswith("in_proj_bias"))
    return {name: each for name, each in example.gradients.items() if not name.endswith("in_proj_bias")}


def test_it_equals_the_definition_on_gradients_of_single_samples(example):
    gradients = without_key_biases(example)
    row = measure(example.model, {"train": example.batches(3)}, [GSNR()])
    assert row == pytest.approx(twin(gradients), rel=1e-9, abs=0)


def test_each_layer_may_have_a_column(example_of):
    example = example_of("transformer")
    gradients = without_key_biases(example)
    row = measure(example.model, (example.inputs, example.targets), [GSNR(per_layer=True)])
    layers = {name.rpartition(".")[0] for name in gradients}
    assert row.keys() == {"gsnr", "gsnr_left_out", "osgr", *(f"gsnr:{layer}" for layer in layers)}
    for layer in layers:
        own = {name: each for name, each in gradients.items() if name.rpartition(".")[0] == layer}
        assert row[f"gsnr:{layer}"] == pytest.approx(twin(own)["gsnr"], rel=1e-9, abs=0)


def linear(weights: list[float], dtype: torch.dtype = torch.float64) -> nn.Linear:
    model = nn.Linear(len(weights), 1, dtype=dtype)
    nn.init.zeros_(model.bias)
    model.weight.data = torch.tensor([weights], dtype=dtype)
    return model


def output(logits: Tensor, targets: Tensor) -> Tensor:
    """A loss whose gradient for a linear layer's weight is the input, and for its bias a constant."""
    return logits.squeeze(1) * 0.1


def test_by_hand():
    inputs = torch.tensor([[1.0, 2, 0], [3, 2, 0]]).double()
    row = measure(linear([1, 1, 1]), (inputs, torch.zeros(2)), [GSNR(per_layer=True)], loss=output)
    # μ = 0.2, ρ² = 0.01; the other weights' gradients do not vary, nor does the bias's.
    assert row == pytest.approx({"gsnr": 4, "gsnr_left_out": 3, "gsnr:": 4, "osgr": 1 - 0.01 / 2 / 0.09})


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("count", [7, 100, 2000])
def test_what_varies_by_rounding_alone_does_not_count(count, dtype):
    """A gradient of 0.1 on all samples, of which the sums round."""
    torch.manual_seed(0)
    inputs = torch.cat([torch.randn(count, 1), torch.full((count, 1), 1.7)], dim=1).to(dtype)
    batches = list(zip(inputs.split(7), torch.zeros(count).split(7), strict=True))
    row = measure(linear([1, 1], dtype), {"train": batches}, [GSNR()], loss=output)
    mean, variance = inputs[:, 0].double().mean(), inputs[:, 0].double().var(correction=0)
    assert row["gsnr_left_out"] == 2
    assert row["gsnr"] == pytest.approx((mean.square() / variance).item(), rel=1e-3)


def test_of_one_sample_nothing_varies(head, samples):
    row = measure(head(), (samples[0][:1], samples[1][:1]), [GSNR()])
    assert math.isnan(row["gsnr"])
    assert row["gsnr_left_out"] == sum(each.numel() for each in head().parameters())


def test_a_subset_is_measured_as_a_split_of_its_own(example_of):
    example = example_of("densenet")
    whole = measure(example.model, (example.inputs, example.targets), [GSNR(samples=8)])
    assert whole == measure(example.model, (example.inputs, example.targets), [GSNR()])
    few = measure(example.model, (example.inputs, example.targets), [GSNR(samples=4, seed=1)])
    assert few["gsnr"] != pytest.approx(whole["gsnr"], rel=0.01)


def test_it_is_a_value():
    assert GSNR() == GSNR()
    assert len({GSNR(), GSNR(per_layer=True), GSNR(samples=5), GSNR(samples=5, seed=1)}) == 4
    assert repr(GSNR()) == "GSNR(per_layer=False, samples=None, seed=0, split='train')"
