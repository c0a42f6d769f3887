import copy
import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from hpo_gn.measures.initialization import GradNorm


def twin(model, inputs, targets) -> float:
    """A backward pass a layer, and the squares of its gradient one by one."""
    model = copy.deepcopy(model).train()
    torch.manual_seed(0)
    loss = cross_entropy(model(inputs), targets)
    total = 0.0
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            (gradient,) = torch.autograd.grad(loss, module.weight, retain_graph=True)
            total += math.sqrt(sum(value * value for value in gradient.flatten().tolist()))
    return total


def test_it_equals_its_twin(network, score):
    assert score(GradNorm(), *network) == pytest.approx(twin(*network), rel=1e-9, abs=0)


def test_it_equals_its_twin_on_a_transformer(transformer, score):
    assert score(GradNorm(), *transformer) == pytest.approx(twin(*transformer), rel=1e-9, abs=0)
