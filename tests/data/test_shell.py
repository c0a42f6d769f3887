import pytest
import torch

from hpo_gn.data import full_splits, open_data, search_splits
from hpo_gn.data.shell import shell
from hpo_gn.errors import ArgumentError


def small(**changes):
    return shell(**{"dimensions": 5, "samples": 2001, "test_samples": 400} | changes)


def test_classes_lie_on_spheres_of_radius_1_and_1_1():
    inputs, targets = small().read("train")
    radii = inputs.double().flatten(1).norm(dim=1)
    torch.testing.assert_close(radii, torch.tensor([1.0, 1.1]).double()[targets], rtol=1e-6, atol=0)
    assert inputs.shape == (2001, 1, 5)
    assert inputs.dtype == torch.float32
    assert targets.bincount().tolist() == [1001, 1000]


def test_directions_are_uniform():
    inputs, targets = small(samples=20_000).read("train")
    for label in (0, 1):
        directions = torch.nn.functional.normalize(inputs[targets == label].double().flatten(1))
        # Of n uniform directions in R^d the mean of a coordinate has a deviation of 1/√(nd).
        assert directions.mean(0).abs().max() < 5 / (10_000 * 5) ** 0.5
        covariance = directions.T @ directions / len(directions)
        torch.testing.assert_close(covariance, torch.eye(5).double() / 5, rtol=0, atol=0.01)


def test_classes_come_in_random_order():
    _, targets = small().read("train")
    changes = int((targets[1:] != targets[:-1]).sum())
    assert 900 < changes < 1100


def test_a_seed_fixes_all():
    for split in ("train", "test"):
        first, again, other = (data.read(split) for data in (small(), small(), small(seed=1)))
        assert torch.equal(first[0], again[0])
        assert torch.equal(first[1], again[1])
        assert not torch.equal(first[0], other[0])


def test_splits_do_not_share_points():
    train, test = (small(samples=400).read(split)[0] for split in ("train", "test"))
    assert not torch.isclose(train, test).all(dim=2).any()


def test_the_number_of_training_samples_leaves_the_test_split_alone():
    first, other = (small(samples=samples).read("test") for samples in (10, 1000))
    assert torch.equal(first[0], other[0])
    assert torch.equal(first[1], other[1])


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_a_share_of_the_training_labels_is_shuffled(share):
    clean, shuffled = small(samples=20_000), small(samples=20_000, shuffled=share)
    inputs, targets = shuffled.read("train")
    assert torch.equal(inputs, clean.read("train")[0])
    assert torch.equal(targets.bincount(), clean.read("train")[1].bincount())
    wrong = (targets != clean.read("train")[1]).double().mean()
    # Half of the labels that are shuffled meet their own class.
    assert wrong == pytest.approx(share / 2, abs=0.02 * share)
    assert torch.equal(shuffled.read("test")[1], clean.read("test")[1])


def test_it_serves_a_search():
    splits = search_splits(small(samples=2000), fraction=0.5, validation_fraction=0.1)
    assert splits.shape == (1, 5)
    assert len(splits.train) == 1000
    assert full_splits(small()).classes == 2


def test_the_papers_shell_is_the_default():
    inputs, _ = open_data("hpo_gn.data.shell:shell").read("test")
    assert inputs.shape == (4000, 1, 1024)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dimensions": 1}, "dimensions must be an integer of at least 2, got 1"),
        ({"samples": 1}, "samples must be an integer of at least 2, got 1"),
        ({"test_samples": 2.5}, "test_samples must be an integer of at least 2, got 2.5"),
        ({"shuffled": 1.5}, "shuffled must be a number from 0 to 1, got 1.5"),
        ({"seed": -1}, "seed must be an integer of at least 0, got -1"),
    ],
)
def test_wrong_arguments_are_a_line(change, message):
    with pytest.raises(ArgumentError, match=f"^{message}$"):
        small(**change)


def test_its_name_is_the_papers_set():
    data = open_data("shell")
    inputs, targets = data.read("test")
    assert (data.name, data.classes, inputs.shape) == ("shell", 2, (4_000, 1, 1024))
    assert targets.bincount().tolist() == [2_000, 2_000]
