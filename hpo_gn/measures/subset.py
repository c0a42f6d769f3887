"""A random subset of a split, drawn while the split is walked once."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from hpo_gn.measures.samples import Batches, Inputs, join, select, unpack


def draw_subset(batches: Batches, samples: int, seed: int) -> tuple[list[tuple[Inputs, Tensor]], int]:
    """`samples` of a split, each subset of that size equally likely, and the split's size.

    Each sample gets a random key, a function of the seed and its place; those with the smallest keys stay.
    Nothing is kept of the others, so that the memory is that of the subset and one batch.

    Args:
        batches: the split.
        samples: how many; a smaller split is taken whole.
        seed: of the draw.

    Returns:
        The subset as one batch, or no batch of an empty split, and the number of samples of the split.
    """
    generator = np.random.default_rng(seed)
    kept: tuple[Inputs, Tensor, Tensor] | None = None
    population = 0
    for batch in batches:
        inputs, targets = unpack(batch)
        keys = torch.from_numpy(generator.random(len(targets)))
        population += len(targets)
        kept = _smallest(kept, inputs, targets, keys, samples)
    return ([] if kept is None else [kept[:2]]), population


def _smallest(
    kept: Any, inputs: Inputs, targets: Tensor, keys: Tensor, samples: int
) -> tuple[Inputs, Tensor, Tensor]:
    """Of what was kept and a new batch, the samples with the smallest keys, in the split's order."""
    bound = 1.0 if kept is None or len(kept[2]) < samples else float(kept[2].max())
    candidates = (keys < bound).nonzero().squeeze(1)
    at = candidates.to(targets.device)
    inputs, targets, keys = select(inputs, at), targets[at], keys[candidates]
    if kept is not None:
        inputs = join([kept[0], inputs])
        targets, keys = torch.cat([kept[1], targets]), torch.cat([kept[2], keys])
    if len(keys) > samples:
        stay = keys.argsort()[:samples].sort().values
        at = stay.to(targets.device)
        inputs, targets, keys = select(inputs, at), targets[at], keys[stay]
    return inputs, targets, keys
