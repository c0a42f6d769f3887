import random
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from hpo_gn.errors import DataError, ModelError
from hpo_gn.measures import AGN, Accuracy, Batch, MeanLoss, cross_entropy, measure

ALL = (
    AGN(),
    MeanLoss("train"),
    Accuracy("train"),
    MeanLoss("validation"),
    Accuracy("validation"),
)


class Counting(nn.Module):
    """Counts the forward passes of a model."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.calls = 0

    def forward(self, inputs: Tensor) -> Tensor:
        self.calls += 1
        logits: Tensor = self.model(inputs)
        return logits


def in_batches(samples: tuple[Tensor, Tensor], size: int) -> list[tuple[Tensor, Tensor]]:
    inputs, targets = samples
    return list(zip(inputs.split(size), targets.split(size), strict=True))


@pytest.mark.parametrize("count", range(1, 6))
def test_each_split_that_is_needed_is_walked_once(count, head, samples):
    model = Counting(head())
    batches = in_batches(samples, 4)
    measure(model, {"train": batches, "validation": batches, "test": batches}, ALL[:count])
    assert model.calls == (4 if count <= 3 else 8)


def test_no_measures_need_no_pass(head, samples):
    model = Counting(head())
    assert measure(model, {"train": [samples]}, []) == {}
    assert model.calls == 0


def test_the_result_does_not_depend_on_the_batch_size(head, samples):
    rows = [
        measure(head(), {"train": in_batches(samples, size), "validation": in_batches(samples, size)}, ALL)
        for size in (13, 1, 2, 5, 12)
    ]
    for row in rows[1:]:
        assert row == pytest.approx(rows[0], rel=1e-12, abs=0)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_data_loader_gives_batches(workers, head, samples):
    loader = DataLoader(TensorDataset(*samples), batch_size=4, shuffle=True, num_workers=workers)
    expected = measure(head(), {"train": [samples]}, ALL[:3])
    assert measure(head(), {"train": loader}, ALL[:3]) == pytest.approx(expected, rel=1e-12, abs=0)


class LogitRange:
    """A third party's measure, with NumPy's numbers, on a split of its own."""

    split = "validation"

    def __init__(self) -> None:
        self.updates = 0
        self.highest = -np.inf

    def update(self, batch: Batch) -> None:
        self.updates += 1
        self.highest = max(self.highest, batch.logits.numpy().max())

    def compute(self) -> dict[str, float]:
        highest, self.highest = self.highest, -np.inf
        return {"highest": np.float32(highest), "one": 1}


def test_a_third_partys_measure_shares_the_pass_and_gives_plain_floats(head, samples):
    model = Counting(head())
    row = measure(model, {"validation": in_batches(samples, 7)}, [LogitRange(), MeanLoss("validation")])
    assert model.calls == 2
    assert row.keys() == {"highest", "one", "val_loss"}
    assert row["highest"] == pytest.approx(head().eval()(samples[0]).max().item(), rel=1e-6)
    assert [type(value) for value in row.values()] == [float] * 3


class Same(LogitRange):
    """Equal to all of its kind, and not hashable."""

    __hash__ = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same)


def test_equal_measures_are_computed_once(head, samples):
    first, second = Same(), Same()
    measure(head(), {"validation": in_batches(samples, 7)}, [first, second])
    assert (first.updates, second.updates) == (2, 0)


class Failing(nn.Module):
    """Raises at its second batch."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.calls = 0

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.model(inputs)
        self.calls += 1
        if self.calls == 2:
            raise FloatingPointError("the model's own")
        return logits


class Raising(LogitRange):
    """Raises at its second batch, or at the end; and at its resets."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where

    def update(self, batch: Batch) -> None:
        super().update(batch)
        if self.where == "update" and self.updates == 2:
            raise FloatingPointError("the measure's own")

    def compute(self) -> dict[str, float]:
        raise FloatingPointError("the measure's own")


class Drawing(nn.Module):
    """Uses up every global random state."""

    def forward(self, inputs: Tensor) -> Tensor:
        torch.rand(5)
        np.random.rand(5)
        random.random()
        return inputs


def drawn() -> tuple[float, float, float]:
    """The next random numbers of every global state, which are put back."""
    python, numpy, torches = random.getstate(), np.random.get_state(), torch.get_rng_state()
    numbers = random.random(), np.random.rand(), torch.rand(1).item()
    random.setstate(python)
    np.random.set_state(numpy)
    torch.set_rng_state(torches)
    return numbers


def condition(model: nn.Module) -> tuple[object, ...]:
    """Everything of a model and the process that an evaluation must not change."""
    return (
        [module.training for module in model.modules()],
        {name: tensor.tolist() for name, tensor in model.state_dict().items()},
        [None if parameter.grad is None else parameter.grad.tolist() for parameter in model.parameters()],
        [parameter.requires_grad for parameter in model.parameters()],
        [(len(module._forward_hooks), len(module._forward_pre_hooks)) for module in model.modules()],
        torch.is_grad_enabled(),
        drawn(),
    )


def well(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> None:
    measure(model, {"train": batches, "validation": batches}, ALL)


def model_raises(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> None:
    failing = Failing(model)
    failing.training = model.training
    with pytest.raises(FloatingPointError, match="the model's own"):
        measure(failing, {"train": batches}, ALL[:3])


def measure_raises(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> None:
    for where in ("update", "compute"):
        with pytest.raises(FloatingPointError, match="the measure's own"):
            measure(model, {"train": batches, "validation": batches}, [*ALL, Raising(where)])


def loss_raises(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> None:
    with pytest.raises(ZeroDivisionError):
        measure(model, {"train": batches}, ALL[:3], loss=lambda logits, targets: logits / (1 // 0))


def data_raise(model: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> None:
    def damaged() -> Iterator[tuple[Tensor, Tensor]]:
        yield batches[0]
        raise OSError("damaged")

    with pytest.raises(OSError, match="damaged"):
        measure(model, {"train": damaged()}, ALL[:3])


@pytest.mark.parametrize("recording", [True, False], ids=["gradients on", "gradients off"])
@pytest.mark.parametrize("use", [well, model_raises, measure_raises, loss_raises, data_raise])
def test_everything_is_left_as_it_was_found(use, recording, head, samples):
    model = nn.Sequential(head(nn.LogSoftmax(1)), Drawing())
    model.train()
    model[0].body[1].eval()  # a frozen batch norm in a model that trains
    model(samples[0]).sum().backward()
    model[0].head.register_forward_hook(lambda module, inputs, output: None)
    model[0].body[0].weight.requires_grad_(False)
    with torch.set_grad_enabled(recording):
        before = condition(model)
        use(model, in_batches(samples, 5))
        assert condition(model) == before


def test_the_check_of_everything_sees_each_change(head, samples):
    changes: list[Callable[[nn.Module], object]] = [
        lambda model: model[0].eval(),
        lambda model: model[0](samples[0]),  # batch norm's statistics
        lambda model: model[0](samples[0]).sum().backward(),
        lambda model: model[0].head.requires_grad_(False),
        lambda model: model[0].head.register_forward_hook(print),
        lambda model: torch.rand(1),
        lambda model: np.random.rand(),
        lambda model: random.random(),
    ]
    for change in changes:
        model = nn.Sequential(head(), Drawing())
        before = condition(model)
        change(model)
        assert condition(model) != before


@pytest.mark.parametrize("use", [model_raises, measure_raises, loss_raises, data_raise])
def test_a_pass_that_failed_leaves_nothing_in_the_measures(use, head, samples):
    batches = in_batches(samples, 5)
    fresh = [AGN(), *(type(measure)(measure.split) for measure in ALL[1:])]
    expected = measure(head(), {"train": batches, "validation": batches}, fresh)
    use(head(), batches)
    assert measure(head(), {"train": batches, "validation": batches}, ALL) == expected


def test_dropout_is_off_and_batch_norm_uses_its_statistics(head, samples):
    model = head().train()
    expected = cross_entropy(head().eval()(samples[0]), samples[1]).mean().item()
    assert measure(model, {"train": [samples]}, [MeanLoss("train")])["train_loss"] == pytest.approx(expected)
    in_training = cross_entropy(model(samples[0]), samples[1]).mean().item()
    assert in_training != pytest.approx(expected, rel=0.01)


def reduced(logits: Tensor, targets: Tensor) -> Tensor:
    return cross_entropy(logits, targets).mean()


def per_class(logits: Tensor, targets: Tensor) -> Tensor:
    return logits.square()


@pytest.mark.parametrize(
    ("splits", "loss", "error", "message"),
    [
        (["train"], cross_entropy, DataError, "a measure needs the validation split, and there is none"),
        (["validation"], cross_entropy, DataError, "a measure needs the train split, and there is none"),
        (
            ["train", "validation"],
            reduced,
            ModelError,
            "loss must give one number a sample, [13], got []: use reduction='none'",
        ),
        (
            ["train", "validation"],
            per_class,
            ModelError,
            "loss must give one number a sample, [13], got [13, 3]: use reduction='none'",
        ),
    ],
)
def test_what_cannot_be_evaluated_is_refused(splits, loss, error, message, head, samples):
    with pytest.raises(error) as raised:
        measure(head(), {split: [samples] for split in splits}, ALL, loss=loss)
    assert str(raised.value) == message


def test_a_missing_split_is_found_before_any_pass(head, samples):
    model = Counting(head())
    with pytest.raises(DataError):
        measure(model, {"train": [samples]}, ALL)
    assert model.calls == 0


@pytest.mark.parametrize("rows", [None, 0], ids=["no batch", "a batch of nothing"])
@pytest.mark.parametrize("split", ["train", "validation"])
def test_an_empty_split_is_refused(split, rows, head, samples):
    batches = [] if rows is None else [(samples[0][:0], samples[1][:0])]
    splits = {"train": [samples], "validation": [samples], split: batches}
    with pytest.raises(DataError) as raised:
        measure(head(), splits, ALL)
    assert str(raised.value) == f"the {split} split is empty"


def test_a_diverged_model_gives_a_row_and_no_error(head, samples):
    model = head()
    nn.init.constant_(model.head.weight, torch.nan)
    row = measure(model, {"train": [samples]}, ALL[:3])
    assert np.isnan(row["agn"])
    assert np.isnan(row["train_loss"])
