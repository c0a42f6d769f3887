"""The statistics that normalize inputs."""

import torch
from torch import Tensor

CHUNK = 1000


def channel_moments(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (population) of each channel, float32 [C]; uint8 counts as 0 … 1.

    A constant channel gets the standard deviation 1, so that normalizing it gives 0.

    Args:
        inputs: uint8 or float32 [N, C, ...] on the CPU.
    """
    mean, variance = _of_bytes(inputs) if inputs.dtype == torch.uint8 else _of_floats(inputs)
    return mean.float(), torch.where(variance > 0, variance.sqrt(), 1.0).float()


def _of_bytes(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """From each channel's histogram: exact counts, and 25 times as fast as sums of squares in float64."""
    counts = torch.zeros(inputs.shape[1], 256, dtype=torch.int64)
    for chunk in torch.split(inputs, CHUNK):
        for channel, values in enumerate(chunk.unbind(1)):
            counts[channel] += torch.bincount(values.reshape(-1), minlength=256)
    values, samples = torch.arange(256, dtype=torch.float64) / 255, counts.sum(1)
    mean = (counts * values).sum(1) / samples
    return mean, (counts * (values - mean[:, None]).square()).sum(1) / samples


def _of_floats(inputs: Tensor) -> tuple[Tensor, Tensor]:
    others = [dimension for dimension in range(inputs.ndim) if dimension != 1]
    samples = inputs.numel() // inputs.shape[1]
    chunks = torch.split(inputs, CHUNK)
    mean = torch.stack([chunk.double().sum(others) for chunk in chunks]).sum(0) / samples
    around = mean.view(1, -1, *(1,) * (inputs.ndim - 2))
    squares = [(chunk.double() - around).square().sum(others) for chunk in chunks]
    return mean, torch.stack(squares).sum(0) / samples
