from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

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
