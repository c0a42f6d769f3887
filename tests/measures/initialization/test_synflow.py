import copy

import pytest
import torch
from torch import nn

from hpo_gn.errors import ModelError
from hpo_gn.measures.initialization import SynFlow

BATCH_NORM = nn.modules.batchnorm._BatchNorm


def without_batch_norm(module: nn.Module) -> nn.Module:
    for name, child in module.named_children():
        setattr(module, name, nn.Identity() if isinstance(child, BATCH_NORM) else without_batch_norm(child))
    return module


def twin(model, inputs) -> float:
    """A copy of the network, made linear and differentiated layer by layer."""
    model = without_batch_norm(copy.deepcopy(model)).double().train()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.abs_()
    torch.manual_seed(0)
    flow = model(torch.ones(1, *inputs.shape[1:]).double()).sum()
    total = 0.0
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            (gradient,) = torch.autograd.grad(flow, module.weight, retain_graph=True)
            total += (module.weight * gradient).abs().sum().item()
    return total


def test_it_equals_its_twin(network, score):
    model, inputs, targets = network
    assert score(SynFlow(), model, inputs, targets) == pytest.approx(twin(model, inputs), rel=1e-9, abs=0)


def test_a_single_precision_network_is_computed_in_double(network, score):
    model, inputs, targets = network
    model, inputs = model.float(), inputs.float()
    assert score(SynFlow(), model, inputs, targets) == pytest.approx(twin(model, inputs), rel=1e-9, abs=0)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_a_linear_network_conserves_flow(score):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4, bias=False), nn.Linear(4, 2, bias=False)).double()
    flow = (model[1].weight.abs() @ model[0].weight.abs()).sum().item()  # all of it passes each layer
    samples = torch.randn(5, 3).double(), torch.randint(2, (5,))
    assert score(SynFlow(), model, *samples) == pytest.approx(2 * flow, rel=1e-12, abs=0)


def test_tokens_are_refused(transformer, score):
    message = r"synflow needs inputs of a floating-point dtype, got torch.int64"
    with pytest.raises(ModelError, match=message):
        score(SynFlow(), *transformer)


class Single(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, inputs):
        return self.layer(inputs.float())


def test_a_model_that_cannot_run_in_float64_is_refused(score):
    with pytest.raises(
        ModelError, match="synflow needs a model that takes ones in float64, got RuntimeError"
    ):
        score(SynFlow(), Single(), torch.randn(5, 3), torch.randint(2, (5,)))
