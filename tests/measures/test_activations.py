import re

import pytest
import torch
from torch import Tensor, nn

from hpo_gn.errors import ModelError, UnknownNameError
from hpo_gn.measures.activations import hidden_layers, inputs_seen, named_layers, outputs_seen, rows_of
from hpo_gn.registry import load


def built_in(name: str) -> nn.Module:
    model: nn.Module = load("model", name)((1, 8, 8), 10)
    return model


def attention() -> nn.Module:
    layer = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 1)
    return nn.Sequential(nn.Linear(6, 8), encoder, nn.Linear(8, 3))


MODELS = {
    "mlp": (built_in("mlp"), {"1": "3", "3": "5"}),
    "lenet5": (built_in("lenet5"), {"7": "9", "9": "11"}),
    "resnet20": (built_in("resnet20"), {"head": "head"}),
    "transformer": (
        attention(),
        {
            "0": "1.layers.0.linear1",
            "1.layers.0.linear1": "1.layers.0.linear2",
            "1.layers.0.linear2": "2",
        },
    ),
}


@pytest.mark.parametrize(("model", "places"), MODELS.values(), ids=MODELS)
def test_a_hidden_layers_activations_are_the_next_linear_layers_input(model, places):
    expected = {name: model.get_submodule(following) for name, following in places.items()}
    assert hidden_layers(model) == expected


def test_a_model_without_a_linear_layer_is_refused():
    with pytest.raises(ModelError) as raised:
        hidden_layers(nn.Sequential(nn.Conv2d(1, 2, 3)))
    assert str(raised.value) == "Sequential has no nn.Linear layer, whose input Spectrum reads"


def test_layers_are_found_by_name():
    model = built_in("mlp")
    assert named_layers(model, ("4", "1")) == {"4": model[4], "1": model[1]}


def test_an_unknown_name_is_refused_with_the_nearest_known_one():
    with pytest.raises(UnknownNameError) as raised:
        named_layers(built_in("resnet20"), ("head", "blocks.9"))
    assert re.fullmatch(
        r"no module of the model is called 'blocks.9'; did you mean 'blocks.\d'\?", str(raised.value)
    )


class Keyword(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        outputs: Tensor = self.layer(input=inputs)
        return outputs


@pytest.mark.parametrize("attach", [inputs_seen, outputs_seen])
def test_each_run_of_a_layer_is_seen(attach):
    model, seen, inputs = Keyword(), [], torch.randn(4, 5, 3)
    with attach({"mine": model.layer}, lambda name, rows: seen.append((name, rows))):
        outputs = [model(inputs), model(2 * inputs)]
    model(inputs)
    values = [inputs, 2 * inputs] if attach is inputs_seen else outputs
    assert [name for name, _ in seen] == ["mine", "mine"]
    for (_, rows), value in zip(seen, values, strict=True):
        assert torch.equal(rows, value.reshape(20, -1))
        assert not rows.requires_grad


@pytest.mark.parametrize("attach", [inputs_seen, outputs_seen])
def test_hooks_come_off_when_the_model_raises(attach):
    model = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 2))
    with pytest.raises(RuntimeError), attach({"0": model[0], "1": model[1]}, lambda *_: None):
        model(torch.ones(2, 4))
    assert not any(each._forward_hooks or each._forward_pre_hooks for each in model.modules())


@pytest.mark.parametrize(
    ("layer", "shape"), [(nn.ReLU(), (4, 3)), (nn.ReLU(), (2, 2, 3)), (nn.Linear(3, 3), (1, 2, 1, 2, 3))]
)
def test_all_but_the_last_dimension_are_rows(layer, shape):
    activations = torch.randn(shape)
    assert torch.equal(rows_of("mine", layer, activations), activations.reshape(4, 3))


@pytest.mark.parametrize(
    ("layer", "activations", "message"),
    [
        (nn.Conv2d(1, 2, 3), torch.ones(4, 2, 5, 6), "got [4, 2, 5, 6] of a Conv2d"),
        (nn.Conv1d(1, 2, 3), torch.ones(4, 2, 5), "got [4, 2, 5] of a Conv1d"),
        (nn.ReLU(), torch.ones(4, 2, 5, 6), "got [4, 2, 5, 6] of a ReLU"),
        (nn.Linear(3, 2), torch.ones(2), "got [2] of a Linear"),
    ],
)
def test_features_that_are_not_in_the_last_dimension_are_refused(layer, activations, message):
    with pytest.raises(ModelError) as raised:
        rows_of("mine", layer, activations)
    rule = "layer 'mine' must give features in its last dimension, [B, d] or [B, T, d], "
    assert str(raised.value) == rule + message


def test_what_is_no_tensor_is_refused():
    layer = nn.LSTM(3, 2)
    with pytest.raises(ModelError) as raised:
        rows_of("mine", layer, layer(torch.ones(4, 3)))
    assert str(raised.value) == "layer 'mine' must give one tensor, got tuple"
