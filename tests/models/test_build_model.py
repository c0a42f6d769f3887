import sys
from types import ModuleType

import pytest
import torch
from torch import nn

from hpo_gn.errors import ArgumentError, ModelError, UnknownNameError
from hpo_gn.models import build_model


@pytest.fixture
def module(monkeypatch):
    """An importable module that a test fills."""
    made = ModuleType("users_module")
    monkeypatch.setitem(sys.modules, "users_module", made)
    return made


def linear(shape: tuple[int, ...], classes: int, bias: bool = True) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(shape[0] * shape[1] * shape[2], classes, bias=bias))


def test_a_registered_model_is_built_for_the_data():
    assert build_model("lenet5", (3, 32, 32), 7)(torch.zeros(5, 3, 32, 32)).shape == (5, 7)


def test_a_users_function_gets_the_shape_the_classes_and_what_else_is_given(module):
    module.linear = linear
    model = build_model("users_module:linear", (2, 3, 4), 5, bias=False)
    assert [tuple(parameter.shape) for parameter in model.parameters()] == [(5, 24)]


def test_the_check_leaves_mode_statistics_and_random_numbers_alone():
    torch.manual_seed(3)
    model = build_model("resnet20", (1, 8, 8), 10)
    state = torch.get_rng_state()
    torch.manual_seed(3)
    twin = build_model("resnet20", (1, 8, 8), 10)
    assert torch.equal(state, torch.get_rng_state())
    assert all(module.training for module in model.modules())
    for tensor, other in zip(model.state_dict().values(), twin.state_dict().values(), strict=True):
        assert torch.equal(tensor, other)
    assert model.state_dict()["stem.1.num_batches_tracked"] == 0


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda shape, classes: 3, "model users_module:made must be a torch.nn.Module, got int"),
        (
            lambda shape, classes: nn.Flatten(),
            r"must give logits \[2, 5\] for inputs \[2, 1, 2, 2\], got \[2, 4\]",
        ),
        (lambda shape, classes: nn.Linear(7, 5), r"fails on inputs \[2, 1, 2, 2\]: RuntimeError: "),
        (lambda shape, classes: nn.GRU(2, 2), r"fails on inputs \[2, 1, 2, 2\]: "),
        (lambda shape, classes: nn.LSTM(2, 2).flat, "cannot be built: AttributeError: "),
        (lambda shape: nn.Flatten(), "cannot be built: TypeError: "),
    ],
)
def test_what_is_no_classifier_of_the_data_is_refused_in_one_line(module, function, message):
    module.made = function
    with pytest.raises(ModelError, match=message) as caught:
        build_model("users_module:made", (1, 2, 2), 5)
    assert "\n" not in str(caught.value)


def test_a_model_that_returns_no_tensor_is_refused(module):
    class Pair(nn.Module):
        def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, None]:
            return inputs, None

    module.made = lambda shape, classes: Pair()
    with pytest.raises(ModelError, match=r"must give logits \[2, 5\] .* got tuple"):
        build_model("users_module:made", (1, 2, 2), 5)


def test_a_refused_shape_keeps_its_own_message():
    with pytest.raises(ArgumentError, match="sides of at least 4 for lenet5"):
        build_model("lenet5", (1, 2, 2), 10)


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(UnknownNameError, match="no model is called 'resnet21'; did you mean 'resnet"):
        build_model("resnet21", (3, 32, 32), 10)
