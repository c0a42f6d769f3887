"""Layers that are left to `torch.func`."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hpo_gn.measures import Batch, measure
from hpo_gn.measures.gradients import Gradient
from hpo_gn.measures.gradients.layers import has_form


class Attention(nn.Module):
    """Attention of a sequence [B, T, 4] to itself."""

    def __init__(self, causal: bool = False, **options: bool) -> None:
        super().__init__()
        self.causal, self.options = causal, options
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, inputs: Tensor) -> Tensor:
        length = inputs.shape[1]
        mask = torch.ones(length, length, dtype=torch.bool).triu(1) if self.causal else None
        result: Tensor = self.attention(inputs, inputs, inputs, attn_mask=mask, **self.options)[0]
        return result


class Recurrent(nn.Module):
    """A recurrent network's outputs, or the states it ends with."""

    def __init__(self, network: nn.RNNBase, states: bool = False) -> None:
        super().__init__()
        self.network, self.states = network, states

    def forward(self, inputs: Tensor) -> Tensor:
        outputs, states = self.network(inputs)
        hidden = states[0] if isinstance(states, tuple) else states
        result: Tensor = hidden[-1] if self.states else outputs
        return result


class Scale(nn.Module):
    """Multiplies by a parameter of its own, and does something else."""

    def __init__(self, scale: Tensor, after: nn.Module | None = None) -> None:
        super().__init__()
        self.scale, self.after = nn.Parameter(scale), after or nn.Identity()

    def forward(self, inputs: Tensor) -> Tensor:
        result: Tensor = self.after(inputs * self.scale)
        return result


class Centred(nn.Module):
    """Subtracts a reference that is the same for all samples, and comes by name."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = Difference()
        self.register_buffer("reference", torch.randn(3, 4))

    def forward(self, inputs: Tensor) -> Tensor:
        result: Tensor = self.scale(inputs, reference=self.reference)["difference"][0]
        return result


class Difference(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.randn(4))

    def forward(self, inputs: Tensor, reference: Tensor) -> dict[str, tuple[Tensor, int]]:
        return {"difference": ((inputs - reference) * self.scale, 3)}


class NoiseInTraining(nn.Module):
    """Returns in evaluation mode the very tensor that it gets."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs + self.scale * torch.randn_like(inputs) if self.training else inputs


class Branching(nn.Module):
    """What it does depends on the numbers, which cannot be mapped over samples."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.randn(4))

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs * self.scale if inputs.sum() > 0 else inputs - self.scale.exp()


class Signs(torch.autograd.Function):
    """sign(x), whose gradient is that of x; written before `torch.func` was."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor) -> Tensor:
        return inputs.sign()

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> Tensor:
        return delta


class StraightThrough(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        result: Tensor = Signs.apply(inputs)
        return result


class Counting(nn.Module):
    """Counts its calls in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, inputs: Tensor) -> Tensor:
        self.calls += 1
        return inputs


def scale(*shape: int) -> Tensor:
    return torch.linspace(0.5, 1.5, torch.Size(shape).numel()).view(shape)


def batch_norm() -> nn.Module:
    layer = nn.BatchNorm1d(3)
    nn.init.normal_(layer.running_mean)
    nn.init.uniform_(layer.running_var, 0.5, 2)
    return layer


parametrizations = nn.utils.parametrizations
SEQUENCE, IMAGE = (3, 4), (2, 5, 4)

LAYERS = {
    "attention": lambda: (Attention(), SEQUENCE),
    "attention without weights": lambda: (Attention(need_weights=False), SEQUENCE),
    "causal attention": lambda: (Attention(causal=True), SEQUENCE),
    "causal attention, as many positions as samples": lambda: (Attention(causal=True), (6, 4)),
    "LSTM": lambda: (Recurrent(nn.LSTM(4, 3, batch_first=True)), SEQUENCE),
    "GRU": lambda: (Recurrent(nn.GRU(4, 3, batch_first=True)), SEQUENCE),
    "RNN": lambda: (Recurrent(nn.RNN(4, 3, batch_first=True)), SEQUENCE),
    "LSTM of two layers": lambda: (Recurrent(nn.LSTM(4, 3, 2, batch_first=True)), SEQUENCE),
    "GRU both ways": lambda: (Recurrent(nn.GRU(4, 3, bidirectional=True, batch_first=True)), SEQUENCE),
    "LSTM's last state": lambda: (Recurrent(nn.LSTM(4, 3, batch_first=True), states=True), SEQUENCE),
    "GRU's last state": lambda: (Recurrent(nn.GRU(4, 3, batch_first=True), states=True), SEQUENCE),
    "GRU's last state of two": lambda: (Recurrent(nn.GRU(4, 3, 2, batch_first=True), states=True), SEQUENCE),
    "weight norm": lambda: (parametrizations.weight_norm(nn.Linear(4, 3)), SEQUENCE),
    "weight norm of a convolution": lambda: (parametrizations.weight_norm(nn.Conv2d(2, 3, 3)), IMAGE),
    "orthogonal": lambda: (parametrizations.orthogonal(nn.Linear(4, 4)), SEQUENCE),
    "spectral norm": lambda: (parametrizations.spectral_norm(nn.Linear(4, 3)), SEQUENCE),
    "PReLU": lambda: (nn.PReLU(), IMAGE),
    "transposed convolution": lambda: (nn.ConvTranspose2d(2, 3, 3), IMAGE),
    "convolution of volumes": lambda: (nn.Conv3d(2, 3, 2), (2, 3, 3, 4)),
    "instance norm": lambda: (nn.InstanceNorm2d(2, affine=True), IMAGE),
    "a vector": lambda: (Scale(scale(4)), SEQUENCE),
    "a number": lambda: (Scale(scale()), SEQUENCE),
    "one that ends with a ReLU": lambda: (Scale(scale(4), nn.ReLU()), SEQUENCE),
    "one that ends with a sigmoid": lambda: (Scale(scale(4), nn.Sigmoid()), SEQUENCE),
    "one with dropout": lambda: (Scale(scale(4), nn.Dropout(0.5)), SEQUENCE),
    "one around a batch norm": lambda: (Scale(scale(4), batch_norm()), SEQUENCE),
    "one around a linear layer": lambda: (Scale(scale(4), nn.Linear(4, 2)), SEQUENCE),
    "one that returns its input": lambda: (NoiseInTraining(), SEQUENCE),
    "one with an autograd function": lambda: (Scale(scale(4), StraightThrough()), SEQUENCE),
    "one that counts its calls": lambda: (Scale(scale(4), Counting()), SEQUENCE),
    "one with an input that all samples share": lambda: (Centred(), SEQUENCE),
    "one that branches": lambda: (Branching(), SEQUENCE),
}


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_any_layer_equals_autograd_sample_by_sample(make, classifier, read, agrees, gradients_twin):
    torch.manual_seed(0)
    layer, shape = make()
    assert not has_form(layer)
    model, *samples = classifier(layer, shape)
    agrees(read(model, *samples), gradients_twin(model, *samples))


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_work_in_float32(kind, classifier, read, gradients_twin):
    model, inputs, targets = classifier(Recurrent(kind(4, 3, batch_first=True)), SEQUENCE)
    expected = gradients_twin(model, inputs, targets)
    told = read(model.float(), inputs.float(), targets)
    for name, gradients in expected.items():
        assert (told[name].per_sample - gradients).norm() <= 1e-5 * gradients.norm()


def test_samples_come_a_few_at_a_time(classifier, read, agrees, gradients_twin, monkeypatch):
    """As many as a chunk holds gradients of."""
    sizes = []

    class Sizes:
        split = "train"

        def visit(self, gradient: Gradient) -> None:
            if gradient.place.name == "2.scale":
                sizes.append(len(gradient))

        def update(self, batch: Batch) -> None:
            pass

        def compute(self) -> dict[str, float]:
            return {}

    monkeypatch.setattr("hpo_gn.measures.gradients.opaque.CHUNK", 9)
    model, *samples = classifier(Scale(scale(4)), SEQUENCE, samples=7)
    measure(model, tuple(samples), [Sizes()])
    assert (max(sizes), sum(sizes)) == (2, 7)
    agrees(read(model, *samples), gradients_twin(model, *samples))
