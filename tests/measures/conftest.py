import copy
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hpo_gn.measures import cross_entropy
from hpo_gn.measures.last_linear import find_linear
from hpo_gn.models import build_model
from hpo_gn.models.densenet import DenseNet

Inputs = Tensor | Mapping[str, Tensor]
Twin = Callable[[nn.Module, nn.Linear, Tensor, Tensor, Callable[[Tensor, Tensor], Tensor]], float]


@pytest.fixture
def agn_twin() -> Twin:
    """AGN's slow twin, a loop of autograd over samples: (model, layer, inputs, targets, loss) → AGN."""

    def twin(
        model: nn.Module,
        layer: nn.Linear,
        inputs: Tensor,
        targets: Tensor,
        loss: Callable[[Tensor, Tensor], Tensor],
    ) -> float:
        total = 0.0
        for index in range(len(inputs)):
            value = loss(model(inputs[index : index + 1]), targets[index : index + 1]).sum()
            gradients = torch.autograd.grad(value, list(layer.parameters()))
            total += sum(gradient.double().square().sum().item() for gradient in gradients)
        return total / len(inputs)

    return twin


class Head(nn.Module):
    """A two-layer network, whose last layer's name is `head`, and whatever comes after it."""

    def __init__(self, *after: nn.Module, bias: bool = True) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.5))
        self.head = nn.Linear(6, 3, bias=bias)
        self.after = nn.Sequential(*after)

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.after(self.head(self.body(inputs)))
        return logits


@pytest.fixture
def head() -> Callable[..., Head]:
    """A function (*modules after the last linear layer, bias=True) → float64 model [B, 4] → [B, 3]."""

    def build(*after: nn.Module, bias: bool = True) -> Head:
        torch.manual_seed(1)
        model = Head(*after, bias=bias).double()
        # Statistics that differ from a batch's own, so that the wrong mode shows.
        model.body[1].running_mean += 0.3
        model.body[1].running_var *= 2
        return model

    return build


@pytest.fixture
def samples() -> tuple[Tensor, Tensor]:
    """Inputs float64 [13, 4] and targets [13] of three classes."""
    generator = torch.Generator().manual_seed(2)
    inputs = torch.randn(13, 4, generator=generator, dtype=torch.float64)
    return inputs, torch.randint(3, (13,), generator=generator)


def gradients_one_by_one(
    model: nn.Module,
    inputs: Inputs,
    targets: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor] = cross_entropy,
) -> dict[str, Tensor]:
    """The slow twin of all per-sample gradients, a loop of autograd over samples in the mode that the model
    is in: [N, *shape] by the parameter's name, zeros where the loss does not depend on it.
    """
    names = {name: each for name, each in model.named_parameters() if each.requires_grad}
    rows = []
    for index in range(len(targets)):
        one = slice(index, index + 1)
        named = isinstance(inputs, Mapping)
        output = model(**{name: each[one] for name, each in inputs.items()}) if named else model(inputs[one])
        value = loss(getattr(output, "logits", output), targets[one]).sum()
        rows.append(
            torch.autograd.grad(value, list(names.values()), allow_unused=True, materialize_grads=True)
        )
    return dict(zip(names, map(torch.stack, zip(*rows, strict=True)), strict=True))


@pytest.fixture(scope="session")
def gradients_twin() -> Callable[..., dict[str, Tensor]]:
    """A function (model, inputs, targets, loss=cross entropy) → per-sample gradients by parameter."""
    return gradients_one_by_one


class Transformer(nn.Module):
    """Tokens [B, T] → logits [B, 10]; token 0 is padding."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(20, 8, padding_idx=0)
        self.positions = nn.Embedding(6, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.head = nn.Linear(8, 10)

    def forward(self, tokens: Tensor) -> Tensor:
        positions = torch.arange(tokens.shape[1], device=tokens.device)[None]
        features = self.layer(self.tokens(tokens) + self.positions(positions))
        logits: Tensor = self.head(features.mean(dim=1))
        return logits


@dataclass(frozen=True)
class Example:
    """A network in float64 and evaluation mode, samples for it, and what the slow twin says of them."""

    model: nn.Module
    inputs: Tensor
    targets: Tensor
    gradients: Mapping[str, Tensor]

    def batches(self, size: int) -> list[tuple[Tensor, Tensor]]:
        return list(zip(self.inputs.split(size), self.targets.split(size), strict=True))

    @property
    def gn(self) -> float:
        """(1/N) Σ_i ‖∇L(θ; x_i)‖²."""
        return sum(each.square().sum().item() for each in self.gradients.values()) / len(self.targets)


NETWORKS = ("mlp", "lenet5", "resnet20", "densenet", "transformer")


@cache
def _example(name: str) -> Example:
    torch.manual_seed(0)
    if name == "transformer":
        model: nn.Module = Transformer()
        inputs = torch.randint(20, (8, 6))
        inputs[:, 0], inputs[0] = 3, 0  # an index that repeats in all samples, and a sample of padding alone
    else:
        shape = (1, 6, 6) if name == "mlp" else (3, 16, 16)
        model = DenseNet(2, 4, shape, 10) if name == "densenet" else build_model(name, shape, 10)
        inputs = torch.randn(8, *shape, dtype=torch.float64)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
    with torch.no_grad():
        find_linear(model).weight.mul_(0.1)  # probabilities that no rounding decides
    model, targets = model.double().eval(), torch.randint(10, (8,))
    return Example(model, inputs, targets, gradients_one_by_one(model, inputs, targets))


@pytest.fixture(scope="session")
def example_of() -> Callable[[str], Example]:
    """A function: name of a network → example, with a copy of the model to do anything with."""

    def build(name: str) -> Example:
        known = _example(name)
        return Example(copy.deepcopy(known.model), known.inputs, known.targets, known.gradients)

    return build


@pytest.fixture(params=NETWORKS)
def example(request: pytest.FixtureRequest, example_of: Callable[[str], Example]) -> Example:
    """Each of the five networks."""
    return example_of(request.param)


def state_of(model: nn.Module) -> dict[str, Any]:
    """All of a model and the process that a measure could leave changed; compares as a dict."""
    tensors = [*model.parameters(), *model.buffers()]
    return {
        "objects": [id(tensor) for tensor in tensors],
        "values": [tensor.tolist() for tensor in tensors],
        "versions": [parameter._version for parameter in model.parameters()],
        "gradients": [
            None if each.grad is None else (id(each.grad), each.grad.tolist()) for each in model.parameters()
        ],
        "requires_grad": [tensor.requires_grad for tensor in tensors],
        "modes": [module.training for module in model.modules()],
        "attributes": [sorted(vars(module)) for module in model.modules()],
        "hooks": [
            [len(value) for name, value in vars(module).items() if name.endswith("hooks")]
            for module in model.modules()
        ],
        "random": (torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()),
        "recording": torch.is_grad_enabled(),
    }


@pytest.fixture(scope="session")
def state() -> Callable[[nn.Module], dict[str, Any]]:
    """A function: model → all of it and of the process that a measure could leave changed."""
    return state_of
