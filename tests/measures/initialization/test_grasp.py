import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy

from hpo_gn.errors import ModelError
from hpo_gn.measures import measure
from hpo_gn.measures.initialization import Grasp


def twin(model, inputs, targets) -> float:
    """H g as the vector-Jacobian product of the gradient."""
    model = copy.deepcopy(model).train()
    weights = [module.weight for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    torch.manual_seed(0)
    with sdpa_kernel(SDPBackend.MATH):
        loss = cross_entropy(model(inputs), targets)
        gradients = torch.autograd.grad(loss, weights, create_graph=True)
        constants = [gradient.detach().clone() for gradient in gradients]
        products = torch.autograd.grad(gradients, weights, grad_outputs=constants)
    return sum((-weight * product).sum().item() for weight, product in zip(weights, products, strict=True))


def test_it_equals_its_twin(network, score):
    assert score(Grasp(), *network) == pytest.approx(twin(*network), rel=1e-9, abs=0)


def test_it_equals_its_twin_on_a_transformer(transformer, score):
    assert score(Grasp(), *transformer) == pytest.approx(twin(*transformer), rel=1e-9, abs=0)


def test_it_is_a_product_with_the_whole_hessian(score):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    inputs, targets = torch.randn(5, 3).double(), torch.randint(2, (5,))
    names = ["0.weight", "2.weight"]
    weights = torch.cat([model.get_parameter(name).detach().flatten() for name in names])

    def loss(flat):
        parameters = {"0.weight": flat[:12].view(4, 3), "2.weight": flat[12:].view(2, 4)}
        return cross_entropy(functional_call(model, parameters, (inputs,)), targets)

    gradient = torch.autograd.functional.jacobian(loss, weights)
    hessian = torch.autograd.functional.hessian(loss, weights)
    expected = -(weights @ hessian @ gradient).item()
    assert score(Grasp(), model, inputs, targets) == pytest.approx(expected, rel=1e-9, abs=0)


class Once(torch.autograd.Function):
    """The identity, of which only the first derivative is known."""

    @staticmethod
    def forward(ctx, inputs):
        return inputs.clone()

    @staticmethod
    def backward(ctx, gradient):
        return Twice.apply(gradient)


class Twice(torch.autograd.Function):
    @staticmethod
    def forward(ctx, inputs):
        return inputs.clone()

    @staticmethod
    def backward(ctx, gradient):
        raise NotImplementedError("derivative for twice is not implemented")


class OnceDifferentiable(nn.Module):
    def forward(self, inputs):
        return Once.apply(inputs)


def test_a_model_without_second_derivatives_is_refused(score):
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), OnceDifferentiable(), nn.Linear(4, 2))
    message = "grasp needs a model that has second derivatives: derivative for twice is not implemented"
    with pytest.raises(ModelError, match=message):
        score(Grasp(), model, torch.randn(5, 3), torch.randint(2, (5,)))


def test_it_is_zero_for_a_loss_that_is_linear_in_the_weights():
    def linear(logits, targets):
        return logits.gather(1, targets[:, None]).squeeze(1)

    data = torch.randn(5, 3), torch.randint(2, (5,))
    assert measure(nn.Linear(3, 2), data, [Grasp()], loss=linear) == {"grasp": 0.0}
