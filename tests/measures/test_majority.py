from collections import Counter

import pytest
import torch
from torch import nn

from hpo_gn.measures import Accuracy, Majority, measure

TARGETS = torch.tensor([3, 0, 3, 1, 3, 0, 3])


def batches(size):
    return [(torch.zeros(len(piece), 4), piece) for piece in TARGETS.split(size)]


@pytest.mark.parametrize(
    ("split", "column"),
    [("train", "train_majority"), ("validation", "val_majority"), ("test", "test_majority")],
)
@pytest.mark.parametrize("size", [1, 2, 7])
def test_it_is_the_share_of_the_most_frequent_class_over_all_batches(split, column, size):
    expected = max(Counter(TARGETS.tolist()).values()) / len(TARGETS)
    assert measure(nn.Identity(), {split: batches(size)}, [Majority(split)]) == {column: expected}


def test_it_is_the_accuracy_of_naming_that_class_of_the_same_samples():
    """Whoever names class 3 always, seen through the subset that both are of."""
    torch.manual_seed(0)
    targets = torch.randint(0, 4, (40,)) | 2
    always = torch.tensor([0.0, 0.0, 0.0, 1.0]).expand(40, 4)
    for samples in (None, 9):
        row = measure(
            nn.Identity(), (always, targets), [Accuracy("train", samples), Majority("train", samples)]
        )
        assert max(row["train_accuracy"], 1 - row["train_accuracy"]) == row["train_majority"]


def test_it_starts_anew_each_time():
    majority = Majority()
    first = measure(nn.Identity(), {"train": batches(7)}, [majority])
    other = [(torch.zeros(2, 4), torch.tensor([1, 2]))]
    assert measure(nn.Identity(), {"train": other}, [majority]) == {"train_majority": 0.5}
    assert measure(nn.Identity(), {"train": batches(7)}, [majority]) == first
