from functools import partial
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from hpo_gn.data import Split
from hpo_gn.errors import ArgumentError
from hpo_gn.measures import Accuracy, MeanLoss, Spectrum, measure
from hpo_gn.seeds import derive_seed
from hpo_gn.stacked import StackedTraining
from hpo_gn.training import SupervisedTraining

OPTIMIZERS = {
    "adam": partial(torch.optim.Adam, lr=1e-2),
    "rmsprop": partial(torch.optim.RMSprop, lr=1e-2),
    "sgd": partial(torch.optim.SGD, lr=0.1, momentum=0.9),
}
DTYPES = {torch.float64: 1e-12, torch.float32: 1e-3}
"""With tolerances: the first steps of Adam and RMSprop depend on the signs of gradients near 0."""


def perceptron(seed: int, *, widths: tuple[int, ...] = (6, 8, 5, 3)) -> nn.Sequential:
    torch.manual_seed(seed)
    layers = [layer for pair in pairwise(widths) for layer in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def normalized(seed: int) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


class Doubles(Split):
    """A split whose batches have the dtype of its inputs."""

    def normalize(self, inputs: Tensor) -> Tensor:
        return inputs


def split(dtype: torch.dtype = torch.float32, count: int = 50) -> Split:
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(count, 6, generator=generator, dtype=dtype)
    targets = torch.randint(0, 3, (count,), generator=generator)
    kind = Doubles if dtype == torch.float64 else Split
    return kind(inputs, targets, torch.zeros(6), torch.ones(6))


def train_alone(model: nn.Module, data: Split, optimizer, *, epochs: int, batch_size: int) -> list[float]:
    """The slow twin: one model, the same batches; the mean loss of each epoch."""
    steps, means = optimizer(model.parameters()), []
    for epoch in range(epochs):
        order = torch.randperm(len(data), generator=torch.Generator().manual_seed(derive_seed(0, epoch, 0)))
        total = 0.0
        for index in order.split(batch_size):
            inputs, targets = data.batch(index)
            steps.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs), targets)
            loss.backward()
            steps.step()
            total += loss.item() * len(index)
        means.append(total / len(data))
    return means


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("make", [perceptron, normalized])
def test_each_model_is_trained_as_it_would_be_alone(make, optimizer, dtype):
    models, data = [make(seed).to(dtype) for seed in range(3)], split(dtype)
    stack = StackedTraining(models, data, batch_size=16, optimizer=OPTIMIZERS[optimizer])
    losses = torch.stack([stack.run_epoch() for _ in range(4)])
    for number, model in enumerate(models):
        alone = train_alone(model, data, OPTIMIZERS[optimizer], epochs=4, batch_size=16)
        tolerance = DTYPES[dtype]
        torch.testing.assert_close(losses[:, number].tolist(), alone, rtol=tolerance, atol=tolerance)
        found, expected = stack.state_dict(number), model.state_dict()
        assert list(found) == [*dict(model.named_parameters()), *dict(model.named_buffers())]
        for name, tensor in found.items():
            torch.testing.assert_close(tensor, expected[name], rtol=tolerance, atol=tolerance)


def test_the_batches_are_those_of_a_search(monkeypatch):
    alone = SupervisedTraining(
        perceptron(0),
        split(),
        batch_size=16,
        learning_rate=0.1,
        momentum=0.9,
        weight_decay=0.0,
        epochs=100,
        seed=7,
    )
    stack = StackedTraining([perceptron(0)], split(), batch_size=16, optimizer=OPTIMIZERS["sgd"], seed=7)
    for _ in range(3):
        alone.run_epoch()
        stack.run_epoch()
    for name, tensor in stack.state_dict(0).items():
        torch.testing.assert_close(tensor, alone.model.state_dict()[name])


def test_the_models_given_are_left_as_they_are():
    models = [perceptron(0), perceptron(1)]
    before = [{name: tensor.clone() for name, tensor in model.state_dict().items()} for model in models]
    StackedTraining(models, split(), batch_size=16, optimizer=OPTIMIZERS["sgd"]).run_epoch()
    for model, state in zip(models, before, strict=True):
        for name, tensor in model.state_dict().items():
            assert torch.equal(tensor, state[name])


def test_a_model_that_diverges_does_not_disturb_the_others():
    models = [perceptron(seed) for seed in range(3)]
    with torch.no_grad():
        models[1][0].weight.fill_(float("inf"))
    data, measures = split(), (Accuracy("validation"), Spectrum())
    stacks = [
        StackedTraining(some, data, batch_size=16, optimizer=OPTIMIZERS["adam"])
        for some in (models, models[::2])
    ]
    losses, of_healthy = (stack.run_epoch() for stack in stacks)
    assert losses[1].isnan()
    torch.testing.assert_close(losses[::2], of_healthy)
    rows, healthy_rows = (
        stack.measure({"validation": data.batch(slice(None))}, measures) for stack in stacks
    )
    assert rows[1] is None
    assert [rows[0], rows[2]] == healthy_rows


def test_measures_are_those_of_the_single_models():
    stack = StackedTraining(
        [perceptron(seed) for seed in range(2)], split(), batch_size=16, optimizer=OPTIMIZERS["adam"]
    )
    stack.run_epoch()
    data = {"validation": split(count=30).batch(slice(None))}
    measures = (MeanLoss("validation"), Accuracy("validation"), Spectrum())
    rows = stack.measure(data, measures)
    for number, row in enumerate(rows):
        model = perceptron(9)
        model.load_state_dict(stack.state_dict(number))
        assert row == measure(model, data, measures)
    assert rows[0] != rows[1]
    assert {"val_loss", "val_accuracy", "spectrum:0", "spectrum:2", "spectrum_width:0"} <= set(rows[0])


def test_dropout_differs_between_models_of_the_same_weights():
    model = nn.Sequential(nn.Linear(6, 64), nn.Dropout(0.5), nn.Linear(64, 3))
    stack = StackedTraining([model, model], split(), batch_size=16, optimizer=OPTIMIZERS["sgd"])
    first, second = stack.run_epoch().tolist()
    assert first != second


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"models": []}, r"models must be at least one model, got \[\]"),
        (
            {"models": [perceptron(0), perceptron(0, widths=(6, 9, 5, 3))]},
            "models must be of one architecture, got 'model 1, which differs from model 0'",
        ),
        ({"batch_size": 0}, "batch_size must be a positive integer, got 0"),
    ],
)
def test_wrong_arguments_are_a_line(change, message):
    arguments = {"models": [perceptron(0)], "batch_size": 16} | change
    with pytest.raises(ArgumentError, match=f"^{message}$"):
        StackedTraining(
            arguments["models"], split(), batch_size=arguments["batch_size"], optimizer=OPTIMIZERS["sgd"]
        )


@pytest.mark.parametrize("number", [-1, 1])
def test_a_model_that_is_not_there(number):
    stack = StackedTraining([perceptron(0)], split(), batch_size=16, optimizer=OPTIMIZERS["sgd"])
    with pytest.raises(ArgumentError, match=f"^number must be an integer from 0 to 0, got {number}$"):
        stack.state_dict(number)
