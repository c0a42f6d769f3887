import pytest
import torch
from torch import nn

from hpo_gn.measures import Accuracy, measure


@pytest.mark.parametrize(
    ("split", "column"),
    [("train", "train_accuracy"), ("validation", "val_accuracy"), ("test", "test_accuracy")],
)
def test_it_is_the_share_of_samples_whose_largest_logit_is_the_targets(split, column):
    logits = torch.tensor([[3.0, 1, 2], [0, 5, 1], [1, 1.5, 1], [9, 8, 9.5], [0, 0, 1]])
    targets = torch.tensor([0, 1, 2, 0, 2])
    batches = [(logits[:4], targets[:4]), (logits[4:], targets[4:])]
    assert measure(nn.Identity(), {split: batches}, [Accuracy(split)]) == {column: 0.6}
