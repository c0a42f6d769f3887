import math

import pytest
import torch
from torch import nn

from hpo_gn.measures import PredictionEntropy, measure


@pytest.mark.parametrize(
    ("split", "column"),
    [("train", "train_entropy"), ("validation", "val_entropy"), ("test", "test_entropy")],
)
def test_it_is_the_mean_over_samples_of_the_entropy_as_a_share_of_the_largest(split, column, head, samples):
    model = head()
    inputs, targets = samples
    batches = zip(inputs.split(5), targets.split(5), strict=True)
    row = measure(model, {split: batches}, [PredictionEntropy(split)])
    total = 0.0
    for logits in model.eval()(inputs).tolist():
        weights = [math.exp(logit) for logit in logits]
        shares = [weight / sum(weights) for weight in weights]
        total -= sum(share * math.log(share) for share in shares) / math.log(len(shares))
    assert row == {column: pytest.approx(total / len(inputs), rel=1e-12)}


@pytest.mark.parametrize(
    ("logits", "entropy"),
    [
        ([0.0] * 4, 1.0),
        ([7.0, 7.0, 7.0, 7.0], 1.0),
        ([0.0, 0.0, -math.inf, -math.inf], 0.5),
        ([0.0, 0.0, -1e30, -1e30], 0.5),
        ([0.0, -math.inf, -math.inf, -math.inf], 0.0),
        ([3e38, 0.0, 0.0, 0.0], 0.0),
    ],
)
def test_it_is_one_of_no_idea_and_zero_of_certainty(logits, entropy):
    data = torch.tensor([logits]), torch.tensor([2])
    row = measure(nn.Identity(), data, [PredictionEntropy()])
    assert row["train_entropy"] == pytest.approx(entropy, abs=1e-6)


def test_logits_that_are_no_numbers_have_none():
    data = torch.tensor([[math.nan, 0.0], [0.0, 0.0]]), torch.tensor([0, 1])
    assert math.isnan(measure(nn.Identity(), data, [PredictionEntropy()])["train_entropy"])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_read_in_single_precision(dtype):
    logits = torch.tensor([[2.0, -1.0, 0.5], [0.0, 8.0, 0.25]])
    rows = [
        measure(nn.Identity(), (each, torch.tensor([0, 1])), [PredictionEntropy()])
        for each in (logits, logits.to(dtype))
    ]
    assert rows[0] == rows[1]


def test_a_subset_says_how_sure_it_is():
    data = torch.arange(60.0).reshape(20, 3) ** 1.1, torch.zeros(20, dtype=torch.long)
    exact = measure(nn.Identity(), data, [PredictionEntropy()])["train_entropy"]
    row = measure(nn.Identity(), data, [PredictionEntropy(samples=8)])
    assert row["train_entropy"] == pytest.approx(exact, abs=4 * row["train_entropy_standard_error"])
