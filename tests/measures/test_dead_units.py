import math

import pytest
import torch
from torch import Tensor, nn

from hpo_gn.errors import ModelError
from hpo_gn.measures import Accuracy, DeadUnits, measure


def mlp() -> nn.Sequential:
    """Of 5 + 4 hidden units, 3 of the first layer and 1 of the second say nothing."""
    torch.manual_seed(0)
    layers = nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 2)
    model = nn.Sequential(*layers).double()
    with torch.no_grad():
        layers[0].bias[:2] = -100.0  # never on
        layers[0].weight[2] = 0.0  # always as much
        layers[2].bias[0] = -100.0
        layers[2].bias[1:] = 100.0
    return model


def one_by_one(model: nn.Sequential, inputs: Tensor) -> float:
    """Every unit of every hidden layer of every sample, looked at by itself."""
    seen: dict[tuple[int, int], set[float]] = {}
    for sample in inputs:
        for number, module in enumerate(model):
            sample = module(sample)
            if isinstance(module, nn.ReLU):
                for unit, activation in enumerate(sample.tolist()):
                    seen.setdefault((number, unit), set()).add(activation)
    return sum(len(activations) == 1 for activations in seen.values()) / len(seen)


@pytest.mark.parametrize(
    ("split", "column"),
    [("train", "train_dead_units"), ("validation", "val_dead_units"), ("test", "test_dead_units")],
)
@pytest.mark.parametrize("size", [1, 4, 11])
def test_it_is_the_share_of_units_that_are_the_same_for_every_sample(split, column, size):
    torch.manual_seed(4)
    inputs, targets = torch.randn(11, 3, dtype=torch.float64), torch.zeros(11, dtype=torch.long)
    batches = list(zip(inputs.split(size), targets.split(size), strict=True))
    row = measure(mlp(), {split: batches}, [DeadUnits(split)])
    assert row == {column: one_by_one(mlp(), inputs)} == {column: 4 / 9}


def test_of_an_only_linear_layer_it_looks_at_the_inputs():
    inputs = torch.tensor([[1.0, 2.0, 0.0], [1.0, 3.0, 0.0]])
    row = measure(nn.Linear(3, 2), {"validation": [(inputs, torch.tensor([0, 1]))]}, [DeadUnits()])
    assert row["val_dead_units"] == pytest.approx(2 / 3)


def test_positions_are_samples_too():
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.head = nn.Linear(2, 2, bias=False), nn.Linear(2, 2)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.head(self.layer(inputs)).mean(dim=1)

    data = {"validation": [(torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]), torch.tensor([0]))]}
    assert measure(Tokens(), data, [DeadUnits()]) == {"val_dead_units": 0.0}


def test_units_that_are_no_numbers_are_not_dead():
    model = mlp()
    with torch.no_grad():
        model[0].bias[:] = math.nan
    inputs = torch.randn(3, 3, dtype=torch.float64)
    row = measure(model, {"validation": [(inputs, torch.tensor([0, 1, 0]))]}, [DeadUnits()])
    assert row == {"val_dead_units": 0.0}


def test_a_model_without_linear_layers_is_refused_and_left_as_it_was():
    model = nn.Sequential(nn.Conv1d(1, 2, 3), nn.Flatten())
    data = {"validation": [(torch.randn(2, 1, 3), torch.tensor([0, 1]))]}
    with pytest.raises(ModelError, match=r"has no nn\.Linear layer"):
        measure(model, data, [DeadUnits()])
    assert "val_accuracy" in measure(model, data, [Accuracy("validation")])


def test_its_hooks_come_off():
    model = mlp()
    measure(model, {"validation": [(torch.zeros(2, 3).double(), torch.tensor([0, 1]))]}, [DeadUnits()])
    assert not any(module._forward_pre_hooks or module._forward_hooks for module in model.modules())
