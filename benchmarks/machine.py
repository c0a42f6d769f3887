"""What a benchmark says of where it ran, and the images it runs on."""

import os
import platform

import torch
from torch import Tensor

from hpo_gn.data import full_splits, open_data
from hpo_gn.errors import DataError
from hpo_gn.hardware import processor


def machine() -> str:
    """Two lines of a header: hardware and versions."""
    return (
        f"hardware  {processor()}, {torch.get_num_threads()} thread; "
        f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n"
        f"versions  Python {platform.python_version()}, torch {torch.__version__}"
    )


def load_samples(count: int) -> tuple[str, Tensor, Tensor]:
    """What they are, inputs [count, 1, 28, 28] and targets [count]: Fashion-MNIST's first, else noise."""
    try:
        split = full_splits(open_data("fashion-mnist")).train
    except DataError:
        return (
            "random noise of Fashion-MNIST's shape",
            torch.randn(count, 1, 28, 28),
            torch.arange(count) % 10,
        )
    return "Fashion-MNIST, training images, normalized", *split.batch(slice(0, count))
