import copy
import functools
import random
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from hpo_gn.checkpoint import Checkpoint, Checkpoints
from hpo_gn.data import Split, open_data, search_splits
from hpo_gn.data.augmentation import crop_and_flip
from hpo_gn.errors import ArgumentError, SpaceError
from hpo_gn.models import build_model
from hpo_gn.training import NEEDS, SupervisedTraining, Training, can_resume, check_space, supervised

SETTINGS = {"batch_size": 16, "learning_rate": 0.05, "momentum": 0.9, "weight_decay": 1e-3}


def images(count: int = 50) -> Split:
    """Random images, uint8 [count, 3, 8, 8], of four classes."""
    generator = torch.Generator().manual_seed(5)
    inputs = torch.randint(256, (count, 3, 8, 8), dtype=torch.uint8, generator=generator)
    targets = torch.randint(4, (count,), generator=generator)
    return Split(inputs, targets, torch.full((3,), 0.5), torch.full((3,), 0.25))


def network() -> nn.Module:
    """A small network with batch norm and dropout."""
    torch.manual_seed(6)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(8, 4),
    )


def training(**changes) -> SupervisedTraining:
    model, data = changes.pop("model", None) or network(), changes.pop("data", None) or images()
    settings = {**SETTINGS, "epochs": 8, "augmentation": crop_and_flip, **changes}
    return SupervisedTraining(model, data, **settings)


def run(made: SupervisedTraining, epochs: int) -> SupervisedTraining:
    for _ in range(epochs):
        made.run_epoch()
    return made


def weights(made: Training) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in made.model.state_dict().items()}


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize(
    ("epochs", "factors"),
    [
        (160, [1.0] * 80 + [0.1] * 40 + [0.01] * 40),
        (8, [1, 1, 1, 1, 0.1, 0.1, 0.01, 0.01]),
        (5, [1, 1, 1, 0.1, 0.01]),
        (4, [1, 1, 0.1, 0.01]),
        (3, [1, 1, 0.1]),
        (2, [1, 0.1]),
        (1, [1]),
    ],
)
def test_the_learning_rate_falls_at_half_and_at_three_quarters(epochs, factors):
    made = SupervisedTraining(
        nn.Sequential(nn.Flatten(), nn.Linear(192, 4)), images(4), **SETTINGS, epochs=epochs
    )
    rates = []
    for _ in range(epochs):
        made.run_epoch()
        rates.append(made.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([0.05 * factor for factor in factors], rel=1e-12)


class Recorder(nn.Module):
    """A linear model that remembers the first value of each input it was trained on, by batch."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 2)
        self.batches: list[list[float]] = []

    def forward(self, inputs: Tensor) -> Tensor:
        assert self.training
        self.batches.append(inputs[:, 0].tolist())
        logits: Tensor = self.layer(inputs)
        return logits


def numbered(count: int) -> Split:
    """Samples whose input is their number."""
    return Split(torch.arange(count).float()[:, None], torch.arange(count) % 2, torch.zeros(1), torch.ones(1))


@pytest.mark.parametrize(
    ("count", "batch_size", "sizes"),
    [
        (10, 4, [4, 4, 2]),
        (8, 4, [4, 4]),
        (9, 4, [4, 5]),
        (5, 4, [5]),
        (4, 100, [4]),
        (1, 4, [1]),
        (3, 1, [1, 1, 1]),
    ],
)
def test_each_epoch_takes_each_sample_once_in_an_order_of_its_own(count, batch_size, sizes):
    model = Recorder()
    settings = {**SETTINGS, "batch_size": batch_size}
    made = SupervisedTraining(model, numbered(count), **settings, epochs=4)
    epochs = []
    for _ in range(4):
        model.batches = []
        made.run_epoch()
        assert [len(batch) for batch in model.batches] == sizes
        epochs.append([number for batch in model.batches for number in batch])
        assert sorted(epochs[-1]) == list(range(count))
    if count >= 8:
        assert len({tuple(epoch) for epoch in epochs}) == 4


@pytest.mark.parametrize("count", [1 + 16, 1 + 48])
def test_batch_norm_survives_one_sample_too_many(count):
    data = images(count)
    flat = nn.Sequential(nn.Flatten(), nn.Linear(192, 4), nn.BatchNorm1d(4))
    with pytest.raises(ValueError, match="Expected more than 1 value per channel"):
        flat(data.batch(slice(0, 1))[0])
    run(training(model=flat, data=data), 2)


def test_a_step_is_sgd_on_the_mean_loss_of_a_batch():
    data = images(16)
    made = training(data=data, model=nn.Sequential(nn.Flatten(), nn.Linear(192, 4)), augmentation=None)
    twin = copy.deepcopy(made.model).double()
    velocity = {name: torch.zeros_like(parameter) for name, parameter in twin.named_parameters()}
    for _ in range(3):
        made.run_epoch()
        cross_entropy(twin(data.batch(slice(None))[0].double()), data.targets).backward()
        with torch.no_grad():
            for name, parameter in twin.named_parameters():
                velocity[name] = 0.9 * velocity[name] + parameter.grad + 1e-3 * parameter
                parameter -= 0.05 * velocity[name]
                parameter.grad = None
    for mine, theirs in zip(made.model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(mine.double(), theirs, rtol=1e-4, atol=1e-6)


def test_it_trains_on_augmented_normalized_inputs_of_its_own_loss():
    data, seen = images(16), []

    def brighten(inputs: Tensor, generator: torch.Generator) -> Tensor:
        seen.append(inputs)
        return inputs // 2

    def first_logit(logits: Tensor, targets: Tensor) -> Tensor:
        return logits[:, 0]

    model = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    made = training(model=model, data=data, augmentation=brighten, loss=first_logit, weight_decay=0.0)
    before = model[1].weight.clone()
    made.run_epoch()
    ((stored,),) = [seen]
    assert stored.dtype == torch.uint8
    expected = data.normalize(data.inputs // 2).flatten(1).mean(dim=0)
    torch.testing.assert_close(before[0] - model[1].weight[0], 0.05 * expected, rtol=1e-4, atol=1e-6)
    assert torch.equal(before[1:], model[1].weight[1:])
    assert made.loss is first_logit


@pytest.mark.parametrize("epoch", range(1, 8))
def test_it_continues_bit_for_bit_after_any_epoch(epoch, tmp_path):
    expected = run(training(), 8)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(0, Checkpoint(epoch, run(training(), epoch).state_dict()))
    torch.rand(epoch)  # the process that goes on has another global random state
    found = checkpoints.latest(0)
    assert found is not None
    resumed = training(model=nn.Sequential(*(copy.deepcopy(module) for module in network())))
    nn.init.zeros_(resumed.model[0].weight)
    resumed.load_state_dict(found.state)
    assert resumed.epoch == found.epoch == epoch
    run(resumed, 8 - epoch)
    assert same(weights(resumed), weights(expected))
    assert resumed.epoch == 8


@pytest.mark.parametrize("left_out", ["model", "optimizer", "epoch"])
def test_every_part_of_the_state_matters(left_out):
    expected = run(training(), 6)
    state, fresh = copy.deepcopy(run(training(), 3).state_dict()), training()
    resumed = training()
    resumed.load_state_dict({**state, left_out: fresh.state_dict()[left_out]})
    run(resumed, 3)
    assert not same(weights(resumed), weights(expected))


def test_a_seed_fixes_the_weights_and_another_changes_them():
    one = weights(run(training(seed=1), 2))
    torch.rand(3)
    np.random.rand(3)
    assert same(weights(run(training(seed=1), 2)), one)
    assert not same(weights(run(training(seed=2), 2)), one)


@pytest.mark.parametrize("part", ["order", "dropout", "augmentation"])
def test_the_seed_is_of_the_order_of_dropout_and_of_augmentation(part):
    def build(seed: int) -> SupervisedTraining:
        model = network()
        model[5].p = 0.5 if part == "dropout" else 0.0
        size = 16 if part == "order" else 50
        augmentation = crop_and_flip if part == "augmentation" else None
        return training(model=model, batch_size=size, augmentation=augmentation, seed=seed)

    first, again, other = (weights(run(build(seed), 1))["6.weight"] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert (first - other).abs().max() > 1e-5  # more than another order of the same sum makes


def test_each_epoch_draws_its_own_crops():
    drawn = []

    def record(inputs: Tensor, generator: torch.Generator) -> Tensor:
        drawn.append(torch.rand(3, generator=generator).tolist())
        return inputs

    run(training(augmentation=record, batch_size=25), 2)
    assert len(drawn) == 4
    assert len({tuple(numbers) for numbers in drawn}) == 4


def test_the_global_random_state_is_untouched():
    def state() -> tuple[object, ...]:
        numpy = np.random.get_state()
        return torch.get_rng_state().tolist(), numpy[1].tolist(), numpy[2], random.getstate()

    made, before = training(), state()
    run(made, 2)
    build = supervised(functools.partial(build_model, "mlp"))
    run(build(SETTINGS, search_splits(open_data("digits")), epochs=1, seed=0), 1)
    assert state() == before


def test_a_batch_larger_than_the_split_is_the_split():
    small = training(batch_size=50, augmentation=None)
    large = training(batch_size=1000, augmentation=None)
    assert same(weights(run(small, 3)), weights(run(large, 3)))


@pytest.mark.parametrize("option", ["mixed_precision", "channels_last"])
def test_faster_arithmetic_stays_close(option):
    plain, fast = run(training(), 2), run(training(**{option: True}), 2)
    assert not fast.model[0].weight.isnan().any()
    bound = 0.05 if option == "mixed_precision" else 1e-3
    for name, expected in weights(plain).items():
        found = weights(fast)[name]
        assert found.dtype == expected.dtype
        torch.testing.assert_close(found, expected, rtol=bound, atol=bound)


class Precisions(nn.Module):
    """Remembers the dtype of its linear layer's output, and the memory order of its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.layer = nn.Conv2d(3, 8, 3), nn.Linear(8, 4)
        self.seen: set[tuple[torch.dtype, bool]] = set()

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = self.convolution(inputs)
        logits: Tensor = self.layer(hidden.mean(dim=(2, 3)))
        self.seen.add((logits.dtype, hidden.is_contiguous(memory_format=torch.channels_last)))
        return logits


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("last", [False, True])
def test_mixed_precision_and_channels_last_are_what_they_say(mixed, last):
    model, given = Precisions(), set()

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        given.add(logits.dtype)
        return cross_entropy(logits, targets, reduction="none")

    run(training(model=model, loss=loss, mixed_precision=mixed, channels_last=last), 1)
    assert given == {torch.float32}
    assert model.seen == {(torch.bfloat16 if mixed else torch.float32, last)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 0}, "batch_size must be a positive integer, got 0"),
        ({"batch_size": 1.5}, "batch_size must be a positive integer, got 1.5"),
        ({"epochs": -1}, "epochs must be a positive integer, got -1"),
        ({"learning_rate": -0.1}, "learning_rate must be a finite number, 0 or more, got -0.1"),
        ({"learning_rate": float("nan")}, "learning_rate must be a finite number, 0 or more, got nan"),
        ({"momentum": float("inf")}, "momentum must be a finite number, 0 or more, got inf"),
        ({"weight_decay": -1}, "weight_decay must be a finite number, 0 or more, got -1"),
        (
            {"channels_last": True, "data": numbered(4)},
            "channels_last must be False for inputs that are not [N, C, H, W], got True",
        ),
    ],
)
def test_a_value_out_of_its_range_is_refused(change, message):
    with pytest.raises(ArgumentError) as raised:
        training(**change)
    assert str(raised.value) == message


def test_a_space_without_what_training_needs_is_refused():
    check_space({*NEEDS, "width"})
    expected = (
        "the space must have batch_size, learning_rate, momentum, weight_decay (a constant will do); "
        "it lacks momentum, weight_decay"
    )
    with pytest.raises(SpaceError) as raised:
        check_space({"learning_rate", "batch_size", "width"})
    assert str(raised.value) == expected
    build = supervised(functools.partial(build_model, "mlp"))
    with pytest.raises(SpaceError) as raised:
        build({"learning_rate": 0.1, "batch_size": 8}, search_splits(open_data("digits")), epochs=1, seed=0)
    assert str(raised.value) == expected


def test_a_diverged_training_is_no_crash():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = run(training(learning_rate=1e30), 2)
    assert not made.model[0].weight.isfinite().all()


def test_a_factory_passes_what_is_beyond_the_trainings_own_to_the_model():
    asked = []

    def build_wide(shape: tuple[int, ...], classes: int, *, width: int) -> nn.Module:
        asked.append((shape, classes, width))
        return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.Linear(width, classes))

    splits = search_splits(open_data("digits"))
    build = supervised(build_wide, channels_last=True)
    first, again, other = (build({**SETTINGS, "width": 7}, splits, epochs=2, seed=seed) for seed in (3, 3, 4))
    assert asked[0] == ((1, 8, 8), 10, 7)
    assert same(weights(first), weights(again))
    assert not same(weights(first), weights(other))


@pytest.mark.parametrize("name", ["mlp", "lenet5", "resnet20"])
def test_it_learns_the_digits(name):
    splits = search_splits(open_data("digits"), fraction=0.5)
    settings = {"batch_size": 50, "learning_rate": 0.05, "momentum": 0.9, "weight_decay": 5e-4}
    made = supervised(functools.partial(build_model, name))(settings, splits, epochs=4, seed=0)
    run(made, 4)
    inputs, targets = splits.validation.batch(slice(None))
    with torch.no_grad():
        accuracy = (made.model.eval()(inputs).argmax(dim=1) == targets).float().mean()
    assert accuracy > 0.7  # guessing gives 0.1


class Bare:
    """The least that is a training."""

    def __init__(self) -> None:
        self.model = nn.Linear(2, 2)

    def run_epoch(self) -> None:
        pass


def test_a_training_needs_a_model_and_an_epoch_and_can_resume_with_a_state():
    assert isinstance(Bare(), Training)
    assert not can_resume(Bare())
    assert isinstance(training(), Training)
    assert can_resume(training())


def test_a_state_is_made_of_what_a_checkpoint_can_hold(tmp_path: Path):
    torch.save(run(training(), 1).state_dict(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    assert state.keys() == {"model", "optimizer", "epoch"}
