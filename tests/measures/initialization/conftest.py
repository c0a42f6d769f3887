from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from hpo_gn.measures import measure
from hpo_gn.models import build_model
from hpo_gn.models.densenet import DenseNet

Samples = tuple[nn.Module, Tensor, Tensor]
SHAPE = (3, 16, 16)


class Transformer(nn.Module):
    """Tokens [B, T] → logits [B, 10]: two encoder layers between embeddings and their mean."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 8)
        self.first = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.second = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
        self.head = nn.Linear(8, 10)

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.head(self.second(self.first(self.embedding(tokens))).mean(1))
        return logits


def dropout() -> nn.Sequential:
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(768, 20),
        nn.BatchNorm1d(20),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(20, 10),
    )


def build(name: str) -> nn.Module:
    if name == "densenet":
        return DenseNet(2, 4, SHAPE, 10)
    return dropout() if name == "dropout" else build_model(name, SHAPE, 10)


@pytest.fixture(params=["mlp", "lenet5", "resnet20", "densenet", "dropout"])
def network(request: pytest.FixtureRequest) -> Samples:
    """A float64 network at its initial weights, inputs [6, 3, 16, 16] and targets [6]."""
    torch.manual_seed(0)
    model = build(request.param).double()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            # Statistics that differ from a batch's own, so that the wrong mode shows.
            module.running_mean += 0.3
            module.running_var *= 2
    return model.eval(), torch.randn(6, *SHAPE).double(), torch.randint(10, (6,))


@pytest.fixture
def transformer() -> Samples:
    """A float64 transformer, tokens int64 [6, 5] and targets [6]."""
    torch.manual_seed(0)
    return Transformer().double(), torch.randint(20, (6, 5)), torch.randint(10, (6,))


@pytest.fixture
def score() -> Callable[..., float]:
    """A function (measure, model, inputs, targets) → the number in its one column."""

    def value(each: object, model: nn.Module, inputs: Tensor, targets: Tensor) -> float:
        (column,) = measure(model, (inputs, targets), [each]).values()
        return column

    return value
