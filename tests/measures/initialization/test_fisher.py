import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from hpo_gn.errors import ModelError
from hpo_gn.measures.initialization import Fisher


def outputs_of(model, inputs, targets):
    """The loss and, layer by layer, the output a with its graph."""
    seen = []
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(lambda module, args, output: seen.append((module, output)))
    torch.manual_seed(0)
    return cross_entropy(model(inputs), targets), seen


def twin(model, inputs, targets) -> float:
    """∂L/∂a of every layer, and a loop over channels and samples."""
    loss, seen = outputs_of(copy.deepcopy(model).train(), inputs, targets)
    total = 0.0
    for module, activation in seen:
        (gradient,) = torch.autograd.grad(loss, activation, retain_graph=True)
        for channel, weight in enumerate(module.weight):
            products = (activation[:, channel] * gradient[:, channel]).detach()
            squares = [product.sum().item() ** 2 for product in products]
            total += weight.numel() * 0.5 * sum(squares) / len(squares)
    return total


def test_it_equals_its_twin(network, score):
    assert score(Fisher(), *network) == pytest.approx(twin(*network), rel=1e-9, abs=0)


def tokens(*layers):
    """A network of vectors [6, 5, 3] whose last layer sees their mean, and samples."""
    torch.manual_seed(0)
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d((1, 4)), nn.Flatten(), nn.Linear(4, 2)).double()
    return model, torch.randn(6, 5, 3).double(), torch.randint(2, (6,))


def test_a_linear_layers_channels_come_last_and_space_is_what_is_between(score):
    model, inputs, targets = tokens(nn.Linear(3, 4))
    loss, ((_, hidden), (_, logits)) = outputs_of(copy.deepcopy(model), inputs, targets)
    of_hidden, of_logits = torch.autograd.grad(loss, [hidden, logits])
    expected = 3 * ((hidden * of_hidden).sum(1) ** 2).mean(0).sum() / 2
    expected += 4 * ((logits * of_logits) ** 2).mean(0).sum() / 2
    assert score(Fisher(), model, inputs, targets) == pytest.approx(expected.item(), rel=1e-9, abs=0)


def test_a_layer_that_runs_twice_has_each_channels_calls_summed(score):
    square = nn.Linear(3, 3)
    model, inputs, targets = tokens(square, nn.Tanh(), square, nn.Linear(3, 4))
    loss, seen = outputs_of(copy.deepcopy(model), inputs, targets)
    gradients = torch.autograd.grad(loss, [output for _, output in seen])
    slopes: dict = {}
    for (layer, output), gradient in zip(seen, gradients, strict=True):
        product = (output * gradient).reshape(6, -1, output.shape[-1]).sum(1)
        slopes[layer] = slopes.get(layer, 0) + product
    expected = sum(layer.in_features * (slope**2).mean(0).sum().item() / 2 for layer, slope in slopes.items())
    assert len(slopes) == 3
    assert score(Fisher(), model, inputs, targets) == pytest.approx(expected, rel=1e-9, abs=0)


def test_grouped_convolutions_have_the_fan_in_of_their_group(score):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(4, 6, 3, groups=2), nn.Flatten(), nn.Linear(24, 2)).double()
    samples = torch.randn(5, 4, 4, 4).double(), torch.randint(2, (5,))
    assert score(Fisher(), model, *samples) == pytest.approx(twin(model, *samples), rel=1e-9, abs=0)


def test_an_activation_that_overwrites_the_output_changes_nothing(score):
    values = []
    for inplace in (False, True):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(inplace), nn.Linear(8, 2)).double()
        values.append(score(Fisher(), model, torch.randn(5, 3).double(), torch.randint(2, (5,))))
    assert values[0] == values[1]


def test_a_layer_whose_weight_is_used_without_calling_it_is_named(transformer, score):
    message = r"fisher needs the output of layer 'first.self_attn.out_proj', which is never called"
    with pytest.raises(ModelError, match=message):
        score(Fisher(), *transformer)


def test_a_layer_that_is_not_used_has_nothing(score):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    samples = torch.randn(5, 3).double(), torch.randint(2, (5,))
    alone = score(Fisher(), model, *samples)
    model[0].unused = nn.Linear(7, 7)
    assert score(Fisher(), model, *samples) == alone


class TimeFirst(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, inputs):
        return self.head(self.inner(inputs.transpose(0, 1)).mean(0))


def test_a_layer_that_does_not_begin_with_the_samples_is_named(score):
    message = r"fisher needs outputs of layer 'inner' that begin with the 6 samples, got \[5, 6, 4\]"
    with pytest.raises(ModelError, match=message):
        score(Fisher(), TimeFirst(), torch.randn(6, 5, 3), torch.randint(2, (6,)))
