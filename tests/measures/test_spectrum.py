import math

import pytest
import torch
from torch import Tensor, nn

from hpo_gn.data import full_splits, open_data
from hpo_gn.errors import ArgumentError, ModelError, NonFiniteError, UnknownNameError
from hpo_gn.measures import AGN, Accuracy, Spectrum, measure
from hpo_gn.measures.batch import Batch
from hpo_gn.registry import load
from hpo_gn.training import SupervisedTraining


class Encoder(nn.Module):
    """A transformer encoder block without `nn.TransformerEncoderLayer`, with functional activations."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(8, 16)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.norm = nn.LayerNorm(16)
        self.wide = nn.Linear(16, 24)
        self.narrow = nn.Linear(24, 16)
        self.head = nn.Linear(16, 10)

    def stages(self, images: Tensor) -> dict[str, Tensor]:
        embedded = self.embed(images.squeeze(1))
        attended = self.norm(embedded + self.attention(embedded, embedded, embedded)[0])
        wide = torch.nn.functional.gelu(self.wide(attended))
        pooled = (attended + self.narrow(wide)).mean(dim=1)
        return {"embed": attended, "wide": wide, "narrow": pooled, "head": self.head(pooled)}

    def forward(self, images: Tensor) -> Tensor:
        return self.stages(images)["head"]


def sequential_stages(model: nn.Sequential, inputs: Tensor) -> dict[str, Tensor]:
    """What each linear layer but the last gives after its ReLU."""
    stages = {}
    for name, module in model.named_children():
        inputs = module(inputs)
        if isinstance(module, nn.ReLU) and isinstance(model[int(name) - 1], nn.Linear):
            stages[str(int(name) - 1)] = inputs
    return stages


STAGES = {
    "mlp": sequential_stages,
    "lenet5": sequential_stages,
    "resnet20": lambda model, inputs: {"head": model.blocks(model.stem(inputs)).mean((2, 3))},
    "transformer": lambda model, inputs: dict(list(model.stages(inputs).items())[:-1]),
}


def build(name: str) -> nn.Module:
    model: nn.Module = Encoder() if name == "transformer" else load("model", name)((1, 8, 8), 10)
    return model


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    """Inputs [700, 1, 8, 8] and targets."""
    return full_splits(open_data("digits")).train.batch(slice(0, 700))


@pytest.fixture(scope="module")
def trained(digits):
    """A function: a network's name → the network after a few epochs on the digits."""

    def train(name: str) -> nn.Module:
        torch.manual_seed(0)
        model = build(name)
        settings = {"batch_size": 50, "learning_rate": 0.02, "momentum": 0.9, "weight_decay": 5e-4}
        training = SupervisedTraining(model, full_splits(open_data("digits")).train, **settings, epochs=2)
        training.run_epoch()
        return model.eval()

    return train


def twin(activations: Tensor) -> float:
    """Σσ/σ_max of all activations at once, by a singular value decomposition in float64."""
    values = torch.linalg.svdvals(activations.detach().double().reshape(-1, activations.shape[-1]))
    return (values.sum() / values.max()).item()


@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-9), (torch.float32, 1e-6)])
@pytest.mark.parametrize("name", STAGES)
def test_it_equals_a_decomposition_of_the_whole_activation_matrix(name, dtype, error, trained, digits):
    model, inputs = trained(name).to(dtype), digits[0].to(dtype)
    batches = list(zip(inputs.split(150), digits[1].split(150), strict=True))
    expected = {}
    for layer, activations in STAGES[name](model, inputs).items():
        expected[f"spectrum:{layer}"] = pytest.approx(twin(activations), rel=error, abs=0)
        expected[f"spectrum_width:{layer}"] = activations.shape[-1]
    assert measure(model, {"validation": batches}, [Spectrum()]) == expected


def test_named_layers_are_read_at_their_output(trained, digits):
    model = trained("mlp").double()
    inputs = digits[0].double()
    row = measure(model, {"train": [(inputs, digits[1])]}, [Spectrum(("3", "4"), split="train")])
    assert row == {
        "spectrum:3": pytest.approx(twin(model[:4](inputs)), rel=1e-9),
        "spectrum_width:3": 256,
        "spectrum:4": pytest.approx(twin(model[:5](inputs)), rel=1e-9),
        "spectrum_width:4": 256,
    }


class InPlace(nn.Module):
    """Changes in place what its hidden layer gave and what its last layer got."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(64, 32)
        self.head = nn.Linear(32, 10)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.hidden(inputs.flatten(1)).relu_()
        logits: Tensor = self.head(hidden)
        hidden.zero_()
        return logits


def test_activations_that_are_changed_in_place_later_count_as_they_were(digits):
    torch.manual_seed(0)
    model, inputs = InPlace(), digits[0]
    before = model.hidden(inputs.flatten(1))
    batches = list(zip(inputs.split(32), digits[1].split(32), strict=True))
    assert measure(model, batches, [Spectrum(("hidden",))])["spectrum:hidden"] == pytest.approx(
        twin(before), rel=1e-6
    )
    assert measure(model, batches, [Spectrum()])["spectrum:hidden"] == pytest.approx(
        twin(before.relu()), rel=1e-6
    )


def test_the_fused_transformer_of_torch_is_seen_too(digits):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, activation="gelu").double().eval()
    model = nn.Sequential(nn.Flatten(1, 2), nn.TransformerEncoder(layer, 2), nn.Flatten(), nn.Linear(64, 10))
    model.double().eval()
    inputs = digits[0].double()
    with torch.no_grad():
        tokens = inputs.squeeze(1)
        attended = layer.norm1(tokens + layer.self_attn(tokens, tokens, tokens)[0])
        expected = twin(torch.nn.functional.gelu(layer.linear1(attended)))
    row = measure(model, (inputs, digits[1]), [Spectrum()])
    # The layers are copies of each other, the first of the given one.
    assert row["spectrum:1.layers.0.linear1"] == pytest.approx(expected, rel=1e-9)


def test_it_shares_a_pass_with_other_measures(trained, digits):
    model = trained("mlp")
    alone = measure(model, digits, [Spectrum(split="train")])
    together = measure(model, digits, [AGN(), Spectrum(split="train"), Accuracy("train")])
    assert {name: together[name] for name in alone} == alone


def test_the_model_is_left_as_it_was(trained, digits):
    model = trained("resnet20").train()
    model.blocks[0].eval()
    modes = [module.training for module in model.modules()]
    tensors = [*model.state_dict().values(), *(parameter.grad for parameter in model.parameters())]
    copies = [tensor.clone() for tensor in tensors]
    generator = torch.get_rng_state()
    measure(model, digits, [Spectrum()])
    assert [module.training for module in model.modules()] == modes
    assert all(map(torch.equal, tensors, copies))
    assert torch.equal(torch.get_rng_state(), generator)
    assert not any(each._forward_hooks or each._forward_pre_hooks for each in model.modules())


def layers(*, alive: float = 1.0) -> nn.Sequential:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 6), nn.ReLU(), nn.Linear(6, 10))
    nn.init.constant_(model[1].bias, -1e6 * (1 - alive))
    return model


def test_all_zero_activations_give_zero(digits):
    assert measure(layers(alive=0.0), digits, [Spectrum()]) == {"spectrum:1": 0.0, "spectrum_width:1": 6}


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_activations_that_are_not_finite_are_refused(value, digits):
    inputs = digits[0].clone()
    inputs[-1, 0, 0, 0] = value
    with pytest.raises(NonFiniteError) as raised:
        measure(layers(), (inputs, digits[1]), [Spectrum(("1",))])
    assert str(raised.value) == "the output of layer '1' is not finite: the training diverged"


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused, self.head = nn.Linear(64, 4), nn.Linear(4, 4), nn.Linear(4, 10)

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.head(self.used(inputs.flatten(1)))
        return logits


class Wider(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Identity()

    def forward(self, inputs: Tensor) -> Tensor:
        self.layer(inputs.flatten(1)[:, : len(inputs)])
        return inputs.flatten(1)[:, :10]


@pytest.mark.parametrize(
    ("model", "spectrum", "error", "message"),
    [
        (
            nn.Flatten(),
            Spectrum(),
            ModelError,
            "Flatten has no nn.Linear layer, whose input Spectrum reads",
        ),
        (
            layers(),
            Spectrum(("1", "11")),
            UnknownNameError,
            "no module of the model is called '11'; did you mean '1'?",
        ),
        (
            Unused(),
            Spectrum(),
            ModelError,
            "layer 'used' has no activations in the pass: it, or the nn.Linear after it, did not run",
        ),
        (
            Unused(),
            Spectrum(("head", "unused")),
            ModelError,
            "layer 'unused' has no activations in the pass: it, or the nn.Linear after it, did not run",
        ),
        (
            load("model", "lenet5")((1, 8, 8), 10),
            Spectrum(("3",)),
            ModelError,
            "layer '3' must give features in its last dimension, [B, d] or [B, T, d], "
            "got [50, 16, 4, 4] of a Conv2d",
        ),
        (
            Wider(),
            Spectrum(("layer",)),
            ModelError,
            "layer 'layer' must give as many features in each batch, got 20 after 50",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused(model, spectrum, error, message, digits):
    batches = [(digits[0][:50], digits[1][:50]), (digits[0][:20], digits[1][:20])]
    with pytest.raises(error) as raised:
        measure(model, batches, [spectrum])
    assert str(raised.value) == message
    assert not any(each._forward_hooks or each._forward_pre_hooks for each in model.modules())


def test_it_starts_anew_after_a_pass_that_failed(digits):
    spectrum, model = Spectrum(), layers()
    with pytest.raises(RuntimeError):
        measure(model, [digits, (torch.ones(3, 1, 7, 7), digits[1][:3])], [spectrum])
    assert measure(model, digits, [spectrum]) == measure(model, digits, [Spectrum()])


@pytest.mark.parametrize("names", ["head", ["head"], ()])
def test_layers_must_be_a_tuple_of_names(names):
    with pytest.raises(ArgumentError) as raised:
        Spectrum(names)
    assert str(raised.value) == f"layers must be a tuple of layers' names, or None, got {names!r}"


def test_it_is_a_value_named_by_its_layers_and_split():
    assert Spectrum() == Spectrum()
    assert Spectrum(("1",)) != Spectrum()
    assert Spectrum(split="train") != Spectrum()
    assert hash(Spectrum(("1",))) == hash(Spectrum(("1",)))
    assert repr(Spectrum(("1",))) == "Spectrum(layers=('1',), split='validation')"


def test_it_refuses_a_pass_that_it_is_not_attached_to(digits):
    inputs, targets = digits
    with pytest.raises(ValueError, match="Spectrum needs a pass that it is attached to"):
        Spectrum().update(Batch(nn.Identity(), inputs, targets, inputs, inputs))
