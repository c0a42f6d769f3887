import math

import pytest
import torch

from hpo_gn.measures.mean import Mean


def test_it_is_the_mean_of_all_batches_and_starts_anew():
    mean = Mean()
    mean.add(torch.tensor([1.0, 2.0, 3.0]))
    mean.add(torch.tensor([10.0]))
    assert mean.take() == 4.0
    assert math.isnan(mean.take())


def test_the_mean_of_an_empty_batch_is_nan():
    mean = Mean()
    mean.add(torch.empty(0))
    assert math.isnan(mean.take())


def test_it_sums_in_float64():
    mean = Mean()
    mean.add(torch.tensor([2.0**24]))
    for _ in range(7):
        mean.add(torch.ones(1))
    assert mean.take() == (2**24 + 7) / 8
    assert torch.tensor([2.0**24]) + 1 == torch.tensor([2.0**24])  # what float32 would have done


def test_truth_values_count():
    mean = Mean()
    mean.add(torch.tensor([True, False, True, True]))
    assert mean.take() == pytest.approx(0.75)
