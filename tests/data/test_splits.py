import numpy as np
import pytest
import torch
from torch import Tensor

from hpo_gn.data.dataset import DataSet
from hpo_gn.data.digits import digits
from hpo_gn.data.fingerprint import fingerprint
from hpo_gn.data.splits import Split, full_splits, search_splits
from hpo_gn.errors import ArgumentError, DataError

COUNTS = (30, 50, 23)
TARGETS = torch.cat([torch.full((count,), label) for label, count in enumerate(COUNTS)])[
    torch.from_numpy(np.random.default_rng(0).permutation(sum(COUNTS)))
]
# Sample i has the pixels i and 2i: a sample can be told by its pixels.
INPUTS = (torch.arange(len(TARGETS))[:, None] * torch.tensor([1, 2])).to(torch.uint8)[:, :, None, None]


def read_train_only(split: str) -> tuple[Tensor, Tensor]:
    assert split == "train", "a search reads the test split"
    return INPUTS, TARGETS


DATA = DataSet("mine", 3, read_train_only)


def members(split: Split | None) -> list[int]:
    assert split is not None
    return split.inputs[:, 0, 0, 0].tolist()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("shape", [(3, 4, 5), (2,)])
def test_a_batch_is_normalized_by_the_training_samples(dtype, shape):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randint(256, (300, *shape), generator=generator).to(dtype)
    targets = torch.arange(300) % 3
    splits = search_splits(DataSet("mine", 3, lambda split: (inputs, targets)), fraction=0.5)
    assert splits.validation is not None
    for split in (splits.train, splits.validation):
        index = torch.tensor([7, 0, 7, 11])
        batch, labels = split.batch(index)
        unit = 255 if dtype == torch.uint8 else 1
        train = splits.train.inputs.double() / unit
        others = [d for d in range(train.ndim) if d != 1]
        mean, std = train.mean(others, keepdim=True), train.std(others, keepdim=True, correction=0)
        slow = (split.inputs[index].double() / unit - mean) / std
        assert batch.dtype == torch.float32
        assert torch.allclose(batch.double(), slow, atol=1e-5)
        assert torch.equal(labels, split.targets[index])
        assert split.inputs.dtype == dtype


@pytest.mark.parametrize("size", [1, 7, 51, 1000])
def test_batches_are_every_sample_once_in_order(size):
    train = search_splits(DATA, fraction=0.5).train
    batches = list(train.batches(size))
    assert [len(targets) for _, targets in batches[:-1]] == [size] * (len(batches) - 1)
    everything = train.batch(slice(None))
    assert torch.equal(torch.cat([inputs for inputs, _ in batches]), everything[0])
    assert torch.equal(torch.cat([targets for _, targets in batches]), train.targets)
    assert len(train) == len(everything[1])


@pytest.mark.parametrize(("fraction", "validation"), [(0.2, 0.1), (0.5, 0.25), (0.9, 0.1), (0.37, 0.63)])
def test_both_shares_are_of_the_whole_training_set_and_of_each_class(fraction, validation):
    splits = search_splits(DATA, fraction=fraction, validation_fraction=validation)
    for split, share in ((splits.train, fraction), (splits.validation, validation)):
        assert split is not None
        assert len(split) == pytest.approx(share * len(TARGETS), abs=1)
        for label, count in enumerate(COUNTS):
            assert (split.targets == label).sum().item() == pytest.approx(share * count, abs=2)


def test_shares_that_divide_every_class_are_exact(real_data):
    splits = search_splits(real_data("fashion-mnist"))
    assert splits.train.targets.bincount().tolist() == [1200] * 10
    assert splits.validation is not None
    assert splits.validation.targets.bincount().tolist() == [600] * 10


def test_validation_is_held_out_and_the_two_can_be_everything():
    splits = search_splits(DATA, fraction=0.7, validation_fraction=0.3)
    train, validation = members(splits.train), members(splits.validation)
    assert sorted(train + validation) == list(range(len(TARGETS)))
    for index, target in zip(train, splits.train.targets, strict=True):
        assert target == TARGETS[index]


def test_the_draw_is_random_but_fixed_by_the_seed():
    first, again, other = (search_splits(DATA, seed=seed) for seed in (0, 0, 1))
    assert members(first.train) == members(again.train)
    assert first.fingerprint == again.fingerprint
    assert members(first.train) != members(other.train)
    assert members(first.validation) != members(other.validation)
    assert first.fingerprint != other.fingerprint


def test_the_draw_of_the_digits_never_changes():
    splits = search_splits(digits())
    assert splits.fingerprint == "64fc6ec8f8db5c6b9a7f404f9d9532651d4e8b743ddc23288ae2fad01f18aad2"


def test_every_sample_is_as_likely_to_be_drawn():
    drawn = torch.zeros(len(TARGETS))
    for seed in range(300):
        drawn[members(search_splits(DATA, fraction=0.5, seed=seed).train)] += 1
    assert drawn.min() > 100
    assert drawn.max() < 200


def test_a_search_has_no_test_split_and_knows_its_data():
    splits = search_splits(DATA)
    assert splits.test is None
    assert (splits.classes, splits.shape, splits.augmentation) == (3, (2, 1, 1), None)
    validation = splits.validation
    assert validation is not None
    assert splits.fingerprint == fingerprint(
        splits.train.inputs, splits.train.targets, validation.inputs, validation.targets
    )


def test_the_winner_gets_the_whole_training_set_and_its_own_statistics():
    data = digits()
    splits = full_splits(data)
    assert splits.validation is None
    assert splits.test is not None
    for split, name in ((splits.train, "train"), (splits.test, "test")):
        assert torch.equal(split.inputs, data.read(name)[0])
        assert torch.equal(split.targets, data.read(name)[1])
        assert split.mean.item() == pytest.approx(data.read("train")[0].double().mean().item() / 255)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fraction": 0}, "fraction must be a number above 0 and below 1, got 0"),
        ({"fraction": 1.0}, "fraction must be a number above 0 and below 1, got 1.0"),
        ({"fraction": float("nan")}, "fraction must be a number above 0 and below 1, got nan"),
        ({"validation_fraction": -0.1}, "validation_fraction must be a number above 0 and below 1, got -0.1"),
        (
            {"fraction": 0.8, "validation_fraction": 0.3},
            r"fraction \+ validation_fraction must be at most 1, got 1.1",
        ),
        ({"seed": -1}, "seed must be an integer of at least 0, got -1"),
    ],
)
def test_arguments_that_break_their_rule_are_refused(arguments, message):
    with pytest.raises(ArgumentError, match=f"^{message}$"):
        search_splits(DATA, **arguments)


@pytest.mark.parametrize(
    ("arguments", "split"),
    [
        ({"fraction": 0.01, "validation_fraction": 0.2}, "reduced training"),
        ({"fraction": 0.2, "validation_fraction": 0.01}, "validation"),
    ],
)
def test_a_fraction_that_leaves_a_class_empty_names_class_and_split(arguments, split):
    with pytest.raises(DataError, match=rf"^mine: class \d is left without a sample in the {split} set \("):
        search_splits(DATA, **arguments)


def test_a_class_that_the_training_set_lacks_is_named():
    data = DataSet("mine", 4, read_train_only)
    with pytest.raises(DataError, match=r"class 3 is left without .* \(0 of the official training set\)"):
        search_splits(data, fraction=0.5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_holds_the_same_samples_and_statistics():
    here, there = search_splits(digits()), search_splits(digits(), device="cuda")
    assert there.train.inputs.device.type == there.train.mean.device.type == "cuda"
    assert here.fingerprint == there.fingerprint
    index = torch.arange(20)
    assert torch.allclose(here.train.batch(index)[0], there.train.batch(index.cuda())[0].cpu(), atol=1e-6)
