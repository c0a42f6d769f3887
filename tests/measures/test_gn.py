import functools

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.functional import one_hot

from hpo_gn.errors import ModelError
from hpo_gn.measures import AGN, GN, Accuracy, MeanLoss, cross_entropy, measure


def test_it_equals_a_loop_of_autograd_over_single_samples(example):
    row = measure(example.model, {"train": example.batches(3)}, [GN()])
    assert row == {"gn": pytest.approx(example.gn, rel=1e-9, abs=0)}


def squared_error(logits: Tensor, targets: Tensor) -> Tensor:
    return (logits - one_hot(targets, logits.shape[1])).square().mean(dim=1)


LOSSES = {
    "smoothed": functools.partial(functional.cross_entropy, label_smoothing=0.1, reduction="none"),
    "squared error": squared_error,
    "module": nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0]).double(), reduction="none"),
}


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_it_holds_for_any_loss_of_one_samples_own_logits(loss, head, samples, gradients_twin):
    twin = gradients_twin(head().eval(), *samples, loss)
    expected = sum(each.square().sum().item() for each in twin.values()) / len(samples[1])
    assert measure(head(), samples, [GN()], loss=loss)["gn"] == pytest.approx(expected, rel=1e-9, abs=0)


def test_it_is_of_the_parameters_that_require_gradients(example_of):
    example = example_of("lenet5")
    for name, parameter in example.model.named_parameters():
        parameter.requires_grad_(name == "7.weight")
    expected = example.gradients["7.weight"].square().sum().item() / 8
    row = measure(example.model, (example.inputs, example.targets), [GN()])
    assert row["gn"] == pytest.approx(expected, rel=1e-9, abs=0)


@pytest.mark.parametrize("model", [nn.Identity(), nn.Linear(3, 3).requires_grad_(False)])
def test_a_model_in_which_none_does_is_refused(model):
    with pytest.raises(ModelError) as error:
        measure(model, (torch.randn(4, 3), torch.zeros(4, dtype=torch.int64)), [GN()])
    kind = type(model).__name__
    assert str(error.value) == f"no parameter of {kind} that is measured requires gradients"


@pytest.mark.parametrize("name", ["densenet", "transformer"])
def test_it_shares_a_pass_with_other_measures(name, example_of):
    example = example_of(name)
    others = [AGN(), MeanLoss("train"), Accuracy("train")]
    data = {"train": example.batches(4)}
    alone = measure(example.model, data, [GN()]) | measure(example.model, data, others)
    together = measure(example.model, data, [*others, GN()])
    assert together == pytest.approx(alone, rel=1e-12, abs=0)
    assert together.costs["train"].forward == 1


def test_agn_keeps_the_digits_of_well_fitted_samples_in_a_pass_they_share():
    """Of 25 float32 samples with p_y so near 1 that 1 − p_y rounds."""
    torch.manual_seed(0)
    model, targets = nn.Linear(10, 10), torch.randint(10, (25,))
    nn.init.eye_(model.weight)
    nn.init.zeros_(model.bias)
    inputs = torch.rand(25, 10) / 4 + 20 * one_hot(targets, 10)
    batches = list(zip(inputs.split(5), targets.split(5), strict=True))
    alone = measure(model, batches, [AGN()])
    together = measure(model, batches, [AGN(), GN()])
    assert together["agn"] == pytest.approx(alone["agn"], rel=1e-5, abs=0)
    assert together.costs["agn"].backward == 0


class Scaled(nn.Module):
    """The logits times a parameter of the outermost module, which no layer holds."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.scale = model, nn.Parameter(torch.tensor([0.5, 1, 2]).double())

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.model(inputs) * self.scale
        return logits


class Outside(nn.Module):
    """The logits times a weight that is used outside of its layer."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.model(inputs) * self.model.head.weight[:, 0]
        return logits


@pytest.mark.parametrize("loss", [cross_entropy, squared_error])
@pytest.mark.parametrize("wrap", [Scaled, Outside])
def test_it_shares_a_pass_with_agn_also_where_single_samples_run_again(
    wrap, loss, head, samples, gradients_twin
):
    model = wrap(head()).eval()
    twin = gradients_twin(model, *samples, loss)
    expected = sum(each.square().sum().item() for each in twin.values()) / len(samples[1])
    batches = list(zip(samples[0].split(5), samples[1].split(5), strict=True))
    row = measure(model, batches, [AGN(), GN()], loss=loss)
    assert row["gn"] == pytest.approx(expected, rel=1e-9, abs=0)
    assert row["agn"] == pytest.approx(measure(model, batches, [AGN()], loss=loss)["agn"], rel=1e-9, abs=0)


def test_it_is_a_value_named_by_its_subset():
    assert GN() == GN()
    assert GN(50) != GN()
    assert GN(50) != GN(50, seed=1)
    assert hash(GN(50)) == hash(GN(50))
    assert repr(GN(50, seed=3)) == "GN(samples=50, seed=3, split='train')"
