import numpy as np
import pytest
import torch

from hpo_gn.data.moments import channel_moments


@pytest.mark.parametrize("shape", [(2500, 3, 4, 5), (1001, 2), (7, 4, 3)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_mean_and_deviation_are_numpys(shape, dtype):
    inputs = torch.randint(256, shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    array = inputs.numpy().astype(np.float64) / (255 if dtype == torch.uint8 else 1)
    others = (0, *range(2, len(shape)))
    mean, std = channel_moments(inputs)
    assert mean.dtype == std.dtype == torch.float32
    assert mean.numpy() == pytest.approx(array.mean(others), rel=1e-6)
    assert std.numpy() == pytest.approx(array.std(others), rel=1e-6)


@pytest.mark.parametrize("value", [torch.tensor(200, dtype=torch.uint8), torch.tensor(0.1)])
def test_a_constant_channel_deviates_by_one(value):
    assert channel_moments(value.expand(3000, 1, 2, 2))[1].tolist() == [1.0]


def test_floats_far_from_zero_keep_their_deviation():
    inputs = 1e4 + torch.tensor([[0.0], [1.0], [2.0], [3.0]])
    assert channel_moments(inputs)[1].item() == pytest.approx(np.std([0, 1, 2, 3]), rel=1e-6)
