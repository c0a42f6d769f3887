"""The digits embedded in scikit-learn: 1,797 images of 8 × 8 (Alpaydin & Kaynak 1998), no download."""

from pathlib import Path

import torch
from sklearn.datasets import load_digits  # type: ignore[import-untyped]
from torch import Tensor

from hpo_gn.data.dataset import DataSet, OfficialSplit

TRAINING_SAMPLES = 1437


def digits(root: Path | None = None) -> DataSet:
    """Handwritten digits, uint8 [N, 1, 8, 8], 10 classes: the first 1,437 train, the last 360 test.

    The file keeps each writer's digits together, so the test digits are by other writers than the first ones.

    Args:
        root: not used; the images come with scikit-learn.
    """
    del root
    return DataSet("digits", 10, _read)


def _read(split: OfficialSplit) -> tuple[Tensor, Tensor]:
    bunch = load_digits()
    rows = slice(TRAINING_SAMPLES) if split == "train" else slice(TRAINING_SAMPLES, None)
    # Grey values are 0 … 16; 15 is the largest factor that keeps them whole and within a byte.
    inputs = torch.from_numpy(bunch.images[rows] * 15).to(torch.uint8)
    return inputs.unsqueeze(1), torch.from_numpy(bunch.target[rows]).to(torch.int64)
