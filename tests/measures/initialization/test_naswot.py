import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import hpo_gn.models.resnet
from hpo_gn.errors import ModelError
from hpo_gn.measures.initialization import NASWOT


def kernel(inputs_of_relus) -> np.ndarray:
    """K_ij, a pair of samples at a time: units that both switch on or both switch off."""
    samples = len(inputs_of_relus[0])
    matrix = np.zeros((samples, samples))
    for inputs in inputs_of_relus:
        active = inputs.reshape(samples, -1) > 0
        for i in range(samples):
            for j in range(samples):
                matrix[i, j] += (active[i] == active[j]).sum().item()
    return matrix


def twin(model, inputs, monkeypatch) -> float:
    seen = []

    def relu(inputs):
        seen.append(inputs.detach().clone())
        return inputs.clamp(min=0)

    model = copy.deepcopy(model).train()
    with monkeypatch.context() as patch:
        patch.setattr(hpo_gn.models.resnet, "relu", relu)
        for module in model.modules():
            if isinstance(module, nn.ReLU):
                patch.setattr(module, "forward", relu)
            if isinstance(module, nn.TransformerEncoderLayer):
                patch.setattr(module, "activation", relu)
        torch.manual_seed(0)
        model(inputs)
    return float(np.log(np.linalg.eigvalsh(kernel(seen))).sum())


def test_it_equals_its_twin(network, score, monkeypatch):
    model, inputs, targets = network
    expected = twin(model, inputs, monkeypatch)
    assert score(NASWOT(), model, inputs, targets) == pytest.approx(expected, rel=1e-9, abs=0)


def test_it_equals_its_twin_on_a_transformer(transformer, score, monkeypatch):
    model, inputs, targets = transformer
    expected = twin(model, inputs, monkeypatch)
    assert score(NASWOT(), model, inputs, targets) == pytest.approx(expected, rel=1e-9, abs=0)


class Activated(nn.Module):
    def __init__(self, activation) -> None:
        super().__init__()
        self.first, self.activation, self.last = nn.Linear(3, 20), activation, nn.Linear(20, 2)

    def forward(self, inputs):
        return self.last(self.activation(self.first(inputs)))


RELUS = {
    "module": nn.ReLU(),
    "module in place": nn.ReLU(inplace=True),
    "functional": functional.relu,
    "functional in place": functional.relu_,
    "functional by name": lambda inputs: functional.relu(input=inputs, inplace=True),
    "torch": torch.relu,
    "torch in place": torch.relu_,
    "method": torch.Tensor.relu,
    "method in place": torch.Tensor.relu_,
}


@pytest.mark.parametrize("relu", RELUS.values(), ids=RELUS)
def test_every_way_to_call_a_relu_counts_once(relu, score):
    torch.manual_seed(0)
    model = Activated(relu)
    inputs, targets = torch.randn(5, 3), torch.randint(2, (5,))
    expected = np.linalg.slogdet(kernel([model.first(inputs)]))[1]
    assert score(NASWOT(), model, inputs, targets) == pytest.approx(expected, rel=1e-9, abs=0)


def test_one_sample_gives_the_logarithm_of_the_number_of_units(score):
    value = score(NASWOT(), Activated(nn.ReLU()), torch.randn(1, 3), torch.tensor([0]))
    assert value == pytest.approx(math.log(20), rel=1e-12, abs=0)


def test_a_model_without_relus_is_refused(score):
    with pytest.raises(ModelError, match="naswot needs a model with ReLUs, and Activated has none"):
        score(NASWOT(), Activated(nn.GELU()), torch.randn(5, 3), torch.randint(2, (5,)))


def test_samples_that_the_relus_do_not_tell_apart_are_refused(score):
    inputs = torch.randn(5, 3)
    inputs[3] = 2 * inputs[1]
    model = Activated(nn.ReLU())
    nn.init.zeros_(model.first.bias)
    message = "naswot needs samples that the ReLUs tell apart, got K of rank 4 for 5 samples"
    with pytest.raises(ModelError, match=message):
        score(NASWOT(), model, inputs, torch.randint(2, (5,)))


class TimeFirst(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, inputs):
        return self.layer(inputs.transpose(0, 1).relu()).mean(0)


def test_a_relu_that_does_not_begin_with_the_samples_is_refused(score):
    message = r"naswot needs ReLUs' inputs that begin with the 6 samples, got \[5, 6, 3\]"
    with pytest.raises(ModelError, match=message):
        score(NASWOT(), TimeFirst(), torch.randn(6, 5, 3), torch.randint(2, (6,)))
