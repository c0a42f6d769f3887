import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

from hpo_gn.measures.initialization import Snip


def twin(model, inputs, targets) -> float:
    """Lee et al.'s definition: the gradient with respect to masks c at c = 1, where weights are c ⊙ W."""
    masks = {
        f"{name}.weight": torch.ones_like(module.weight).requires_grad_()
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    }
    parameters = dict(model.named_parameters())
    masked = {name: mask * parameters[name].detach() for name, mask in masks.items()}
    model.train()
    torch.manual_seed(0)
    loss = cross_entropy(functional_call(model, masked, (inputs,)), targets)
    sensitivities = torch.autograd.grad(loss, list(masks.values()))
    return sum(each.abs().sum().item() for each in sensitivities)


def test_it_equals_its_twin(network, score):
    assert score(Snip(), *network) == pytest.approx(twin(*network), rel=1e-9, abs=0)


def test_it_equals_its_twin_on_a_transformer(transformer, score):
    assert score(Snip(), *transformer) == pytest.approx(twin(*transformer), rel=1e-9, abs=0)
