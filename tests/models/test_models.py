import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from hpo_gn import registry
from hpo_gn.errors import ArgumentError
from hpo_gn.models.densenet import DenseLayer, DenseNet, densenet100
from hpo_gn.models.initialization import he_initialize
from hpo_gn.models.lenet5 import lenet5
from hpo_gn.models.resnet import Block, resnet20, resnet56, resnet110

COLOUR, GREY, SMALL = (3, 32, 32), (1, 28, 28), (1, 8, 8)


@pytest.mark.parametrize(
    ("name", "shape", "parameters"),
    [
        ("mlp", GREY, 784 * 512 + 512 + 512 * 256 + 256 + 256 * 10 + 10),
        ("lenet5", GREY, 61_706),
        ("resnet20", COLOUR, 269_722),
        ("resnet56", COLOUR, 853_018),
        ("resnet110", COLOUR, 1_727_962),
        ("densenet100", COLOUR, 27_249_082),
    ],
)
def test_each_network_has_its_papers_number_of_parameters(name, shape, parameters):
    with torch.device("meta"):
        model = registry.load("model", name)(shape, 10)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


def build(name: str, shape: tuple[int, ...], classes: int) -> nn.Module:
    """A registered network, or a thin DenseNet instead of one that takes seconds."""
    torch.manual_seed(0)
    if name == "densenet100":
        return DenseNet(2, 4, shape, classes)
    model: nn.Module = registry.load("model", name)(shape, classes)
    return model


@pytest.mark.parametrize("shape", [COLOUR, GREY, SMALL, (2, 9, 14)])
@pytest.mark.parametrize("name", registry.names("model"))
def test_each_network_takes_each_image_and_learns_with_every_parameter(name, shape):
    model = build(name, shape, 7)
    logits = model(torch.randn(4, *shape))
    assert logits.shape == (4, 7)
    assert logits.isfinite().all()
    nn.functional.cross_entropy(logits, torch.arange(4)).backward()
    for parameter in model.parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0


@pytest.mark.parametrize("name", registry.names("model"))
def test_the_last_linear_layer_is_the_last_module_and_gives_the_logits(name):
    model = build(name, GREY, 10).eval()
    last = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    outputs: list[Tensor] = []
    last.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    logits = model(torch.randn(2, *GREY))
    assert logits is outputs[0]


@pytest.mark.parametrize(("side", "features"), [(28, 400), (32, 400), (8, 64), (4, 16), (12, 16), (64, 2704)])
def test_lenet5_has_the_papers_features_and_pads_small_images(side, features):
    model = lenet5((1, side, side), 10)
    assert model[7].in_features == features
    assert model(torch.zeros(1, 1, side, side)).shape == (1, 10)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("lenet5", (1, 3, 8), r"sides of at least 4 for lenet5, got \(1, 3, 8\)"),
        ("lenet5", (64,), r"shape must be \(channels, height, width\) with sides of at least 4"),
        ("resnet20", (3, 32), r"shape must be \(channels, height, width\)"),
        ("densenet100", (3, 3, 3), r"sides of at least 4 for densenet, got \(3, 3, 3\)"),
    ],
)
def test_an_image_that_is_none_or_too_small_is_refused(name, shape, message):
    with pytest.raises(ArgumentError, match=message):
        registry.load("model", name)(shape, 10)


def test_a_halving_blocks_shortcut_is_option_a():
    block = Block(4, 8).eval()
    inputs = torch.randn(2, 4, 6, 6)
    expected = block.residual(inputs).clone()
    for channel in range(4):
        for row in range(3):
            for column in range(3):
                expected[:, channel + 2, row, column] += inputs[:, channel, 2 * row, 2 * column]
    assert torch.allclose(block(inputs), relu(expected))


def test_a_block_that_keeps_its_width_adds_its_input():
    block = Block(4, 4).eval()
    inputs = torch.randn(2, 4, 6, 6)
    assert torch.allclose(block(inputs), relu(block.residual(inputs) + inputs))


@pytest.mark.parametrize(
    ("function", "layers"), [(resnet20, 20), (resnet56, 56), (resnet110, 110), (densenet100, 100)]
)
def test_each_network_has_the_number_of_weighted_layers_in_its_name(function, layers):
    with torch.device("meta"):
        model = function(COLOUR, 10)
    weighted = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert len(weighted) == layers


def test_a_dense_layer_keeps_its_input_beside_its_output():
    layer = DenseLayer(4, 3).eval()
    inputs = torch.randn(2, 4, 5, 5)
    outputs = layer(inputs)
    assert outputs.shape == (2, 7, 5, 5)
    assert torch.equal(outputs[:, :4], inputs)


def test_he_initialization_scales_with_the_fan_in():
    model = nn.Sequential(nn.Conv2d(50, 60, 5), nn.Linear(800, 300), nn.BatchNorm1d(300))
    torch.manual_seed(0)
    he_initialize(model)
    assert model[0].weight.std().item() == pytest.approx((2 / (50 * 25)) ** 0.5, rel=0.02)
    assert model[1].weight.std().item() == pytest.approx((2 / 800) ** 0.5, rel=0.02)
    assert model[0].bias.abs().sum() == model[1].bias.abs().sum() == 0
    assert (model[2].weight == 1).all()
