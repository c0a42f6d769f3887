"""Shell: two classes on concentric spheres ("Predicting the success of Gradient Descent for a particular
Dataset-Architecture-Initialization", section IV).
"""

import math
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from hpo_gn.data.dataset import DataSet, OfficialSplit
from hpo_gn.errors import ArgumentError
from hpo_gn.seeds import derive_seed

RADII = (1.0, 1.1)
"""Of class 0 and class 1."""


def shell(
    dimensions: int = 1024,
    *,
    samples: int = 20_000,
    test_samples: int = 4_000,
    shuffled: float = 0.0,
    seed: int = 0,
) -> DataSet:
    """Points in uniform directions at a distance of 1 (class 0) or 1.1 (class 1), float32 [N, 1, dimensions],
    as many of one class as of the other, or one more of class 0.

    Args:
        dimensions: of the space.
        samples: training samples.
        test_samples: test samples, the validation samples of the paper's experiments.
        shuffled: share of the training labels that are shuffled among themselves, from 0 to 1; of two
            classes about half of those change.
        seed: fixes everything.

    Raises:
        ArgumentError: a number is out of range.
    """
    for name, value in {"dimensions": dimensions, "samples": samples, "test_samples": test_samples}.items():
        if not isinstance(value, int) or value < 2:
            raise ArgumentError(name, "an integer of at least 2", value)
    if not 0 <= shuffled <= 1:
        raise ArgumentError("shuffled", "a number from 0 to 1", shuffled)
    if not isinstance(seed, int) or seed < 0:
        raise ArgumentError("seed", "an integer of at least 0", seed)

    def read(split: OfficialSplit) -> tuple[Tensor, Tensor]:
        # A stream for each split, and one for the labels: shuffling them leaves the points as they are.
        points, order = (torch.Generator().manual_seed(derive_seed(seed, split == "test", k)) for k in (0, 1))
        inputs, targets = _points(dimensions, samples if split == "train" else test_samples, points)
        return inputs, _shuffled(targets, shuffled, order) if split == "train" else targets

    return DataSet(f"shell-{dimensions}", len(RADII), read)


def shell_1024(root: Path | None = None) -> DataSet:
    """Shell as the paper has it, `--data shell`.

    Args:
        root: not used; the points are drawn.
    """
    del root
    return replace(shell(), name="shell")


def _points(dimensions: int, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    targets = torch.randperm(count, generator=generator) % len(RADII)
    directions = torch.randn(count, dimensions, generator=generator, dtype=torch.float64)
    directions /= torch.linalg.vector_norm(directions, dim=1, keepdim=True)
    radii = torch.tensor(RADII, dtype=torch.float64)[targets]
    return (directions * radii[:, None]).float().unsqueeze(1), targets


def _shuffled(targets: Tensor, share: float, generator: torch.Generator) -> Tensor:
    chosen = torch.randperm(len(targets), generator=generator)[: math.floor(share * len(targets) + 0.5)]
    result = targets.clone()
    result[chosen] = targets[chosen[torch.randperm(len(chosen), generator=generator)]]
    return result
