import pytest
import torch
from torch import Tensor, nn

from hpo_gn.errors import ModelError
from hpo_gn.measures import GN, GSNR, SameSign, cross_entropy, measure
from hpo_gn.measures.gradients import Backpropagation
from hpo_gn.measures.gradients.outer import Outer


def test_all_gradients_of_the_networks_equal_autograd_sample_by_sample(example, read, agrees):
    agrees(read(example.model, example.inputs, example.targets), example.gradients)


class Tokens(nn.Module):
    """What classifiers of tokens [B, T] have in common."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(7, 4)
        self.head = nn.Linear(4, 3)


class Positions(Tokens):
    """Adds what some layers make of positions, the same for all samples."""

    def __init__(self, length: int, *layers: nn.Module) -> None:
        super().__init__()
        self.positions = nn.Sequential(*layers)
        self.register_buffer("places", torch.arange(length)[None])
        self.register_buffer("waves", torch.randn(1, length, 2))

    def forward(self, tokens: Tensor) -> Tensor:
        looked_up = isinstance(self.positions[0], nn.Embedding)
        positions = self.positions(self.places if looked_up else self.waves)
        return self.head((self.tokens(tokens) + positions).tanh().mean(1))


class Transposed(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.mT


FOR_ALL = {
    "embedding": lambda: [nn.Embedding(5, 4)],
    "embedding and layer norm": lambda: [nn.Embedding(5, 4), nn.LayerNorm(4)],
    "embedding and linear": lambda: [nn.Embedding(5, 2), nn.Linear(2, 4)],
    "linear": lambda: [nn.Linear(2, 4)],
    "layer norm": lambda: [nn.LayerNorm(2), nn.Linear(2, 4)],
    "convolution": lambda: [Transposed(), nn.Conv1d(2, 4, 3, padding=1), Transposed()],
    "group norm": lambda: [Transposed(), nn.GroupNorm(1, 2), Transposed(), nn.Linear(2, 4)],
}


@pytest.mark.parametrize("layers", FOR_ALL.values(), ids=FOR_ALL)
def test_a_layer_may_see_one_input_for_all_samples(layers, tokens, read, agrees, gradients_twin):
    torch.manual_seed(0)
    model = Positions(5, *layers()).double().eval()
    agrees(read(model, *tokens), gradients_twin(model, *tokens))


@pytest.mark.parametrize("length", [5, 6], ids=["fewer than samples", "as many as samples"])
def test_positions_without_the_samples_side_are_refused(length, read):
    class WithoutSide(Tokens):
        def __init__(self) -> None:
            super().__init__()
            self.positions = nn.Embedding(length, 4)

        def forward(self, tokens: Tensor) -> Tensor:
            return self.head((self.tokens(tokens) + self.positions(torch.arange(length))).tanh().mean(1))

    with pytest.raises(ModelError, match=r"layer 'positions' must keep one row a sample"):
        read(WithoutSide().double(), torch.randint(7, (6, length)), torch.randint(3, (6,)))


def test_frozen_parameters_are_passed_over(example_of, read, agrees):
    example = example_of("lenet5")
    model = example.model
    model[0].requires_grad_(False)
    model[3].weight.requires_grad_(False)
    model[7].bias.requires_grad_(False)
    model[11].requires_grad_(False)
    frozen = {"0.weight", "0.bias", "3.weight", "7.bias", "11.weight", "11.bias"}
    left = {name: each for name, each in example.gradients.items() if name not in frozen}
    agrees(read(model, example.inputs, example.targets), left)


def test_only_wanted_parameters_are_visited(example_of, read, agrees):
    example = example_of("transformer")
    wanted = {name: each for name, each in example.gradients.items() if name.endswith("bias")}
    told = read(example.model, example.inputs, example.targets, lambda layer, name: name.endswith("bias"))
    agrees(told, wanted)


class Unused(Tokens):
    """Has layers that the loss does not depend on."""

    def __init__(self) -> None:
        super().__init__()
        self.never = nn.Linear(4, 4)
        self.dropped = nn.Linear(4, 4)
        self.without_gradients = nn.LayerNorm(4)
        self.attention = nn.MultiheadAttention(4, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        features = self.tokens(tokens).mean(1)
        self.dropped(features)
        with torch.no_grad():
            features = self.without_gradients(features)
        return self.head(features)


def test_what_the_loss_does_not_depend_on_has_zeros(tokens, read, agrees, gradients_twin):
    model = Unused().double().eval()
    told = read(model, *tokens)
    agrees(told, gradients_twin(model, *tokens))
    assert {name for name, each in told.items() if not each.per_sample.any()} == {
        name for name, _ in model.named_parameters() if not name.startswith("head")
    }


def test_layers_may_be_followed_by_changes_in_place(read, agrees, gradients_twin):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3),
        nn.BatchNorm2d(2),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(2 * 4, 5),
        nn.LeakyReLU(0.1, inplace=True),
        nn.Linear(5, 3),
        nn.ELU(inplace=True),
    ).double()
    samples = torch.randn(6, 1, 4, 4).double(), torch.randint(3, (6,))
    agrees(read(model.eval(), *samples), gradients_twin(model, *samples))


class WritesOver(nn.Module):
    """Changes what a layer saw, after the layer saw it."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        features = inputs + 1
        outputs = self.body(features)
        features.mul_(2)
        return self.head(outputs)


class Flattens(nn.Module):
    """Has a layer that sees all samples' positions as one batch."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(2, 4), nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(self.body(inputs.view(-1, 2)).view(-1, 2, 4).mean(1))


class WithoutGradients(nn.Module):
    """Cannot be followed by autograd."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 3)

    @torch.no_grad()
    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(inputs)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (WritesOver(), "layer 'body': its input was changed in place after the layer used it"),
        (Flattens(), "layer 'body' must keep one row a sample, ["),
        (WithoutGradients(), "the model's output must be differentiable, got one that requires no gradients"),
        (
            nn.Sequential(nn.Linear(4, 3)).requires_grad_(False),
            "no parameter of Sequential that is measured requires gradients",
        ),
        (nn.Flatten(), "no parameter of Flatten that is measured requires gradients"),
    ],
)
def test_what_cannot_be_read_is_refused(model, message, read):
    with pytest.raises(ModelError) as error:
        read(model.double(), torch.randn(5, 4).double(), torch.zeros(5, dtype=torch.int64))
    assert str(error.value).startswith(message)


@pytest.mark.parametrize("kind", [GN, GSNR, SameSign])
def test_linear_layers_never_form_gradients_of_single_samples(kind, example_of, monkeypatch):
    example = example_of("mlp")
    expected = measure(example.model, (example.inputs, example.targets), [kind()])

    def refuse(gradient: Outer, index: slice) -> Tensor:
        raise AssertionError("samples × parameters")

    monkeypatch.setattr(Outer, "per_sample", refuse)
    assert measure(example.model, (example.inputs, example.targets), [kind()]) == expected


def test_a_pass_is_of_as_many_samples_as_may_be_kept(monkeypatch):
    sizes = []

    class Note(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            sizes.append(len(inputs))
            return inputs

    model = nn.Sequential(Note(), nn.Linear(4, 3).double())
    monkeypatch.setattr("hpo_gn.measures.gradients.backpropagation._KEPT", 80 * 4 * 8)
    measure(model, (torch.randn(300, 4).double(), torch.zeros(300, dtype=torch.int64)), [GN()])
    first, *others = sizes
    assert first == 1  # until one pass has shown what a sample takes
    assert others == [75, 75, 75, 74]  # as few pieces as may be, of one size, since small ones are slow


def test_nothing_is_propagated_back_beyond_what_is_measured():
    body, activation, head = nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 3)
    reached = []

    def watch(module: nn.Module, args: object, output: Tensor) -> None:
        if output.requires_grad:
            output.register_hook(reached.append)

    activation.register_forward_hook(watch)
    model = nn.Sequential(body, activation, head)
    inputs, targets = torch.randn(5, 4), torch.zeros(5, dtype=torch.int64)
    for wanted, times in ((head, 0), (body, 1)):

        def is_wanted(layer: nn.Module, name: str, wanted: nn.Module = wanted) -> bool:
            return layer is wanted

        with torch.no_grad(), Backpropagation(model, is_wanted).attached() as sweep:
            sweep.backward(cross_entropy(sweep.forward(inputs), targets), lambda gradient: None)
        assert len(reached) == times
