"""Parameters that are used more than once, or outside of their layer."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.utils.checkpoint import checkpoint

from hpo_gn.measures import GN, measure


class Tokens(nn.Module):
    """What classifiers of tokens [B, T] have in common."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(7, 4)
        self.head = nn.Linear(4, 3)


class Twice(Tokens):
    """Calls a layer twice."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.layer(self.layer(self.tokens(tokens)).tanh().mean(1)))


class Tied(Tokens):
    """An embedding and a linear layer with one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.decoder = nn.Linear(4, 7)
        self.decoder.weight = self.tokens.weight
        self.head = nn.Linear(7, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.decoder(self.tokens(tokens).mean(1)).tanh())


class TiedAndScaled(Tied):
    """Likewise, with a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([0.5, 1, 2]))

    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens) * self.scale


class Outside(Tokens):
    """A weight that is used outside of its layer, too."""

    def forward(self, tokens: Tensor) -> Tensor:
        features = self.tokens(tokens).mean(1)
        return self.head(linear(self.head(features).tanh(), self.head.weight.T))


class OutsideOnly(Tokens):
    """A weight that is used outside of its layer, whose own output the loss does not see."""

    def forward(self, tokens: Tensor) -> Tensor:
        features = self.tokens(tokens).mean(1)
        return self.head(
            linear(features, self.tokens.weight).detach() @ self.tokens.weight + features.detach()
        )


class OutsideOfANorm(Outside):
    """Likewise, with batch norm."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3)
        nn.init.normal_(self.norm.running_mean)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.norm(super().forward(tokens))


class TwoParents(Tokens):
    """A layer that two modules have inside, as encoders and decoders share an embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Sequential(self.tokens), nn.Sequential(self.tokens)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.encoder(tokens).mean(1) * self.decoder(tokens).amax(1))


class Holder(nn.Module):
    """Has a parameter and is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.randn(4))


class Held(Tokens):
    """Uses parameters that other modules hold."""

    def __init__(self) -> None:
        super().__init__()
        self.holder = Holder()
        self.several = nn.ParameterList([torch.randn(4), torch.randn(4)])
        self.named = nn.ParameterDict({"shift": torch.randn(4)})

    def forward(self, tokens: Tensor) -> Tensor:
        features = self.tokens(tokens) * self.holder.scale + self.named["shift"]
        return self.head((features * self.several[0]).tanh().mean(1) * self.several[1])


class HeldAndCalled(Tokens):
    """Uses the parameter of a module that it calls, too."""

    def __init__(self) -> None:
        super().__init__()
        self.activation = nn.PReLU(4)

    def forward(self, tokens: Tensor) -> Tensor:
        features = self.tokens(tokens).mean(1)
        return self.head(self.activation(features) * self.activation.weight)


class Vectors(Tokens):
    """A layer that sees positions, and one vector a sample."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, tokens: Tensor) -> Tensor:
        features = self.tokens(tokens)
        return self.head(self.layer(features).mean(1) * self.layer(features[:, 0]).tanh())


class Checkpointed(Tokens):
    """Forgets activations and computes them again in the backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(5), nn.Tanh())

    def forward(self, tokens: Tensor) -> Tensor:
        features = checkpoint(self.layers, self.tokens(tokens), use_reentrant=False)
        return self.head(features.mean(1))


SHARED = [
    Twice,
    Tied,
    TiedAndScaled,
    Outside,
    OutsideOnly,
    OutsideOfANorm,
    TwoParents,
    Held,
    HeldAndCalled,
    Vectors,
    Checkpointed,
]


@pytest.mark.parametrize("kind", SHARED)
def test_a_parameter_may_be_used_anywhere_and_more_than_once(kind, tokens, read, agrees, gradients_twin):
    torch.manual_seed(0)
    model = kind().double().eval()
    agrees(read(model, *tokens), gradients_twin(model, *tokens))


def test_a_weight_that_is_used_outside_its_layer_is_seen_under_autocast(tokens):
    """Autocast converts a weight once for all its uses."""

    class Twofold(Tokens):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, tokens: Tensor) -> Tensor:
            features = self.tokens(tokens).mean(1)
            return self.head(linear(self.layer(features).tanh(), self.layer.weight))

    torch.manual_seed(0)
    model = Twofold()
    expected = measure(model, tokens, [GN()])["gn"]
    with torch.autocast("cpu", torch.bfloat16):
        assert measure(model, tokens, [GN()])["gn"] == pytest.approx(expected, rel=0.05)
