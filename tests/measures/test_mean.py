import math

import pytest
import torch

from hpo_gn.measures.mean import Estimate, Mean


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


def test_an_estimate_of_all_samples_is_their_mean_and_starts_anew():
    estimate = Estimate()
    estimate.add(torch.tensor([1.0, 2.0]), math.inf)
    estimate.add(torch.tensor([6.0]), math.inf)
    assert estimate.take("name") == {"name": 3.0}
    assert math.isnan(estimate.take("name")["name"])


@pytest.mark.parametrize(
    ("values", "population", "error"),
    [
        ([1.0, 2.0, 6.0], 12, math.sqrt(7 / 3) * math.sqrt(3 / 4)),
        ([1.0, 2.0, 6.0], 3, 0.0),
        ([4.0, 4.0], 100, 0.0),
        ([4.0], 1, 0.0),
        ([4.0], 2, math.nan),
    ],
)
def test_an_estimate_of_a_subset_has_a_standard_error(values, population, error):
    estimate = Estimate()
    for value in values:
        estimate.add(torch.tensor([value]), population)
    mean = sum(values) / len(values)
    expected = {"name": mean, "name_standard_error": error}
    assert estimate.take("name") == pytest.approx(expected, nan_ok=True)
    estimate.add(torch.tensor([5.0]), math.inf)
    assert estimate.take("name") == {"name": 5.0}
