import pytest
import torch
from torch import Tensor, nn

from hpo_gn.measures import SameSign, measure


def twin(gradients: dict[str, Tensor]) -> float:
    """Samples with the more frequent sign, counted for each parameter."""
    flat = torch.cat([each.flatten(1) for each in gradients.values()], dim=1)
    positive, negative = (flat > 0).sum(dim=0), (flat < 0).sum(dim=0)
    return (torch.maximum(positive, negative) / len(flat)).double().mean().item()


def test_it_equals_a_count_over_gradients_of_single_samples(example):
    for name, parameter in example.model.named_parameters():
        # Attention's key biases have gradients that are 0 but for rounding.
        parameter.requires_grad_(not name.endswith("in_proj_bias"))
    known = {name: each for name, each in example.gradients.items() if not name.endswith("in_proj_bias")}
    row = measure(example.model, {"train": example.batches(3)}, [SameSign()])
    assert row == {"same_sign": pytest.approx(twin(known), rel=1e-6, abs=0)}


def output(logits: Tensor, targets: Tensor) -> Tensor:
    """A loss whose gradient for a linear layer's weight is its input."""
    return logits.squeeze(1)


def test_a_gradient_of_zero_has_neither_sign():
    inputs = torch.tensor([[1.0, -1, 0], [2, -1, 0], [-3, 0, 0], [1, 2, 5]]).double()
    model = nn.Linear(3, 1, bias=False).double()
    row = measure(model, (inputs, torch.zeros(4)), [SameSign()], loss=output)
    assert row["same_sign"] == pytest.approx((3 + 2 + 1) / (4 * 3))


def test_a_subset_is_measured_as_a_split_of_its_own(example_of):
    example = example_of("densenet")
    data = example.inputs, example.targets
    whole = measure(example.model, data, [SameSign(samples=8)])
    assert whole == measure(example.model, data, [SameSign()])
    assert measure(example.model, data, [SameSign(samples=1)])["same_sign"] > whole["same_sign"]


def test_it_is_a_value():
    assert SameSign() == SameSign()
    assert len({SameSign(), SameSign(5), SameSign(5, seed=1)}) == 3
    assert repr(SameSign()) == "SameSign(samples=None, seed=0, split='train')"
