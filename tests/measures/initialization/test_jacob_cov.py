import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from hpo_gn.errors import ModelError
from hpo_gn.measures.initialization import JacobCov


def twin(model, inputs) -> float:
    """A backward pass a logit, and numpy's correlations and eigenvalues."""
    model = copy.deepcopy(model).train()
    inputs = inputs.clone().requires_grad_()
    torch.manual_seed(0)
    logits = model(inputs)
    jacobian = torch.zeros_like(inputs)
    for logit in logits.flatten():
        jacobian += torch.autograd.grad(logit, inputs, retain_graph=True)[0]
    eigenvalues = np.linalg.eigvalsh(np.corrcoef(jacobian.reshape(len(inputs), -1).numpy()))
    return -sum(math.log(value + 1e-5) + 1 / (value + 1e-5) for value in eigenvalues)


def test_it_equals_its_twin(network, score):
    model, inputs, targets = network
    assert score(JacobCov(), model, inputs, targets) == pytest.approx(twin(model, inputs), rel=1e-9, abs=0)


def test_tokens_are_refused(transformer, score):
    message = r"jacob_cov needs inputs of a floating-point dtype, got torch.int64"
    with pytest.raises(ModelError, match=message):
        score(JacobCov(), *transformer)


def test_a_sample_with_a_constant_gradient_is_named(score):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4, bias=False), nn.ReLU(), nn.Linear(4, 2))
    nn.init.uniform_(model[0].weight)
    inputs = torch.rand(5, 3)
    inputs[2] = -1  # switches all units off
    message = "jacob_cov needs input gradients that vary, got a constant one for sample 2"
    with pytest.raises(ModelError, match=message):
        score(JacobCov(), model, inputs, torch.randint(2, (5,)))


class Detached(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, inputs):
        return self.layer(inputs).detach()


def test_logits_without_a_gradient_are_refused(score):
    message = "the model's output must be differentiable, got one that requires no gradients"
    with pytest.raises(ModelError, match=message):
        score(JacobCov(), Detached(), torch.randn(5, 3), torch.randint(2, (5,)))
