import pytest
import torch
from torch import Tensor, nn

from hpo_gn.errors import ModelError, UnknownNameError
from hpo_gn.measures import AGN, measure
from hpo_gn.measures.last_linear import find_linear


def test_the_last_linear_layer_is_found_in_the_order_of_named_modules(head):
    model = head()
    assert find_linear(model) is model.head
    assert find_linear(model, "body.0") is model.body[0]
    alone = nn.Linear(2, 2)
    assert find_linear(alone) is find_linear(alone, "") is alone


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("haed", UnknownNameError, "no module of the model is called 'haed'; did you mean 'head'?"),
        ("body.2", ModelError, "layer 'body.2' must be an nn.Linear, got ReLU"),
        ("", ModelError, "layer '' must be an nn.Linear, got Head"),
    ],
)
def test_a_name_of_no_linear_layer_is_refused(name, error, message, head, samples):
    with pytest.raises(error) as raised:
        measure(head(), {"train": [samples]}, [AGN(name)])
    assert str(raised.value) == message


def test_a_model_without_a_linear_layer_is_refused(samples):
    with pytest.raises(ModelError) as raised:
        measure(nn.Sequential(nn.ReLU()), {"train": [samples]}, [AGN()])
    assert str(raised.value) == "Sequential has no nn.Linear layer, which AGN is read from"


class Calls(nn.Module):
    """A model that runs its linear layer that many times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times
        self.layer = nn.Linear(4, 4, dtype=torch.float64)

    def forward(self, inputs: Tensor) -> Tensor:
        for _ in range(self.times):
            inputs = self.layer(inputs)
        return inputs


@pytest.mark.parametrize("times", [0, 2])
def test_a_layer_that_does_not_run_exactly_once_is_refused(times, samples):
    with pytest.raises(ModelError) as raised:
        measure(Calls(times), {"train": [samples]}, [AGN()])
    assert str(raised.value) == (
        f"the watched linear layer must run once in a forward pass, and ran {times} times"
    )


class Positions(nn.Module):
    """A linear layer at each of five positions, whose outputs are averaged."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3, dtype=torch.float64)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layer(inputs[:, None].expand(-1, 5, -1)).mean(dim=1)


def test_a_layer_that_gets_more_than_one_vector_a_sample_is_refused(samples):
    with pytest.raises(ModelError) as raised:
        measure(Positions(), {"train": [samples]}, [AGN()])
    assert str(raised.value) == (
        "the watched linear layer must get one vector a sample [B, d], got [13, 5, 4]"
    )


def test_two_layers_in_one_pass_are_refused(head, samples):
    with pytest.raises(ModelError) as raised:
        measure(head(), {"train": [samples]}, [AGN("head"), AGN("body.0")])
    assert str(raised.value) == "one linear layer can be watched in a pass, got body.0, head"
