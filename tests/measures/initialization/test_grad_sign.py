import copy

import pytest
import torch
from torch import Tensor, nn

from hpo_gn.errors import ArgumentError, ModelError
from hpo_gn.measures import AGN, GN, MeanLoss, Measure, cross_entropy, measure
from hpo_gn.measures.initialization import GradSign

MODES = pytest.mark.parametrize("mode", ["train", "eval"])


def twin(model: nn.Module, inputs: Tensor, targets: Tensor, mode: str = "train", loss=cross_entropy) -> int:
    """Algorithm 1: the signs of each sample's gradient, one sample at a time."""
    total, uncertain = twin_and_uncertain(model, inputs, targets, mode, loss)
    assert uncertain == 0
    return total


def twin_and_uncertain(
    model: nn.Module, inputs: Tensor, targets: Tensor, mode: str, loss=cross_entropy
) -> tuple[int, int]:
    """Algorithm 1, and how many of the signs are of gradients that are 0 but for rounding: batch norm takes
    its mean from a gradient that is constant over a map.
    """
    model = copy.deepcopy(model).train(mode == "train")
    centred = any(isinstance(module, nn.BatchNorm2d) and module.training for module in model.modules())
    weights = [
        module.weight
        for module in model.modules()
        if isinstance(module, nn.Conv2d | nn.Linear) and module.weight.requires_grad
    ]
    sums, uncertain = [torch.zeros_like(weight) for weight in weights], 0
    for index in range(len(targets)):
        value = loss(model(inputs[index : index + 1]), targets[index : index + 1]).sum()
        for total, gradient in zip(sums, torch.autograd.grad(value, weights), strict=True):
            total += gradient.sign()
            if centred and gradient.dim() == 4:
                norms = gradient.flatten(1).norm(dim=1)
                uncertain += int((norms < 1e-12 * norms.max()).sum()) * gradient[0].numel()
    return sum(int(total.abs().sum()) for total in sums), uncertain


@MODES
def test_it_is_the_integer_that_one_sample_at_a_time_gives(mode, example):
    expected, uncertain = twin_and_uncertain(example.model, example.inputs, example.targets, mode)
    assert uncertain < 0.02 * expected
    row = measure(example.model, {"train": example.batches(3)}, [GradSign(mode)])
    assert row == {"grad_sign": pytest.approx(expected, abs=uncertain, rel=0)}


@MODES
def test_a_mini_batch_larger_than_one_pass_is_added_up(mode, example_of, monkeypatch):
    example = example_of("densenet")
    monkeypatch.setattr("hpo_gn.measures.gradients.backpropagation._FIRST", 3)
    monkeypatch.setattr("hpo_gn.measures.gradients.backpropagation._KEPT", 1)
    row = measure(example.model, (example.inputs, example.targets), [GradSign(mode)])
    assert row == {"grad_sign": twin(example.model, example.inputs, example.targets, mode)}


def test_the_modes_differ_and_neither_is_the_batchs_own_statistics(example_of):
    example = example_of("densenet")
    data = example.inputs, example.targets
    train, evaluation = (measure(example.model, data, [GradSign(mode)]) for mode in ("train", "eval"))
    assert train != evaluation
    assert train["grad_sign"] == twin(example.model, *data)  # which sees one image's statistics


def test_a_frozen_batch_norm_is_in_train_mode_too(example_of):
    example = example_of("densenet")
    data = example.inputs, example.targets
    expected = measure(example.model.train(), data, [GradSign()])
    for module in example.model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval().requires_grad_(False)
    assert measure(example.model, data, [GradSign()]) == expected


def test_only_weights_of_convolutions_and_linear_layers_count():
    class Sum(nn.Module):
        """A linear layer's output and those of layers that do not count."""

        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 1)
            self.others = nn.ModuleList([nn.Linear(1, 1), nn.LayerNorm(4), nn.PReLU()])

        def forward(self, inputs: Tensor) -> Tensor:
            outputs: Tensor = self.linear(inputs) + self.others[2](self.others[1](inputs)).sum(
                1, keepdim=True
            )
            return outputs

    inputs = torch.tensor([[1.0, -1, 0, 2], [1, 1, 0, 3], [5, -2, 0, 1]])
    row = measure(Sum(), (inputs, torch.zeros(3)), [GradSign()], loss=lambda outputs, _: outputs.squeeze(1))
    # Signs of the inputs, added up: 3, −1, 0, 3; a weight that the loss does not depend on has 0.
    assert row == {"grad_sign": 7}


@MODES
def test_frozen_weights_do_not_count(mode, example_of):
    example = example_of("lenet5")
    data = example.inputs, example.targets
    parts = []
    for frozen in (True, False):
        for number, module in enumerate(example.model.children()):
            module.requires_grad_((number < 4) is frozen)
        parts.append(measure(example.model, data, [GradSign(mode)])["grad_sign"])
    assert sum(parts) == twin(example.model.requires_grad_(True), *data, mode)


def test_totals_beyond_float32_are_exact():
    """On each of 129 samples all weights have the same sign: an odd number above 2^24."""
    inputs = torch.ones(1, 1).expand(129, 2**17 + 1)
    model = nn.Linear(2**17 + 1, 1, bias=False)
    data = inputs, torch.zeros(129)
    row = measure(model, data, [GradSign(samples=None)], loss=lambda outputs, _: outputs.squeeze(1))
    assert row["grad_sign"] == 129 * (2**17 + 1)


def dropout() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 40), nn.ReLU(), nn.Dropout(0.5), nn.Linear(40, 3)).double()


def test_dropout_is_on_in_train_mode_and_drawn_from_the_seed(samples):
    expected = {
        mode: measure(dropout(), samples, [GradSign(mode)])["grad_sign"] for mode in ("train", "eval")
    }
    assert expected["train"] < expected["eval"] == twin(dropout(), *samples, "eval")
    torch.rand(7)
    again = {mode: measure(dropout(), samples, [GradSign(mode)])["grad_sign"] for mode in ("train", "eval")}
    assert again == expected
    assert measure(dropout(), samples, [GradSign(seed=1)])["grad_sign"] != expected["train"]


def test_the_mini_batch_is_a_fixed_random_subset(example_of):
    example = example_of("lenet5")
    torch.manual_seed(0)
    inputs, targets = torch.randn(80, 3, 16, 16).double(), example.targets.repeat(10)
    scores = [
        measure(
            example.model, {"train": list(zip(inputs.split(size), targets.split(size), strict=True))}, [each]
        )
        for each in (GradSign(), GradSign(samples=64), GradSign(seed=1), GradSign(samples=None))
        for size in (80, 7)
    ]
    assert scores[0] == scores[1] == scores[2] == scores[3]
    assert scores[4] == scores[5] != scores[0]
    assert scores[6] == scores[7] == {"grad_sign": twin(example.model, inputs, targets)}


def test_another_loss_has_another_score(example_of):
    example = example_of("lenet5")
    data = example.inputs, example.targets

    def squared(logits: Tensor, targets: Tensor) -> Tensor:
        return (logits - nn.functional.one_hot(targets, 10)).square().sum(dim=1)

    row = measure(example.model, data, [GradSign()], loss=squared)
    assert row == {"grad_sign": twin(example.model, *data, loss=squared)}
    assert row != measure(example.model, data, [GradSign()])


def test_it_shares_a_walk_with_other_measures(example_of):
    example = example_of("densenet")
    data = example.inputs, example.targets
    others = [AGN(samples=64), GN(samples=64), MeanLoss("train")]
    alone = measure(example.model, data, [GradSign()]) | measure(example.model, data, others)
    assert measure(example.model, data, [GradSign(), *others]) == pytest.approx(alone, rel=1e-12, abs=0)


class Norms(nn.Sequential):
    def __init__(self, norm: nn.Module) -> None:
        super().__init__(nn.Linear(4, 6), norm, nn.Linear(6, 3))


@pytest.mark.parametrize(
    ("model", "mode", "message"),
    [
        (
            Norms(nn.BatchNorm1d(6)),
            "train",
            "layer '1' (BatchNorm1d) gets one value a channel, of which one sample has no statistics",
        ),
        (
            Norms(nn.BatchNorm1d(6, track_running_stats=False)),
            "eval",
            "layer '1' (BatchNorm1d) uses the batch's own statistics, "
            "so that no sample has a gradient of its own",
        ),
        (
            nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 3).requires_grad_(False)),
            "train",
            "no parameter of Sequential that is measured requires gradients",
        ),
    ],
    ids=["one value a channel", "no running statistics", "no weight"],
)
def test_a_model_that_has_no_score_is_refused(model, mode, message, samples):
    with pytest.raises(ModelError) as error:
        measure(model.double(), samples, [GradSign(mode)])
    assert str(error.value) == message


def test_it_is_a_value_and_a_measure():
    assert isinstance(GradSign(), Measure)
    assert GradSign() == GradSign("train", 64, 0)
    assert len({GradSign(), GradSign("eval"), GradSign(samples=128), GradSign(seed=1)}) == 4
    assert repr(GradSign()) == "GradSign(mode='train', samples=64, seed=0, split='train')"
    with pytest.raises(ArgumentError) as error:
        GradSign("test")
    assert str(error.value) == "mode must be 'train' or 'eval', got 'test'"
