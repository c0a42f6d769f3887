"""A random subset of a split, drawn while the split is walked once."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from hpo_gn.measures.samples import Batches, Inputs, Samples, join, select, unpack


def draw_subset(split: Batches | Samples, samples: int, seed: int) -> tuple[list[tuple[Inputs, Tensor]], int]:
    """`samples` of a split, each subset of that size equally likely, and the split's size.

    Each sample gets a random key, a function of the seed and its place; those with the smallest keys stay. Of
    batches that come one after the other nothing is kept of the rest, so that the memory is that of the
    subset and one batch.

    Args:
        split: its batches, or what gives samples by index.
        samples: how many; a smaller split is taken whole.
        seed: of the draw.

    Returns:
        The subset as one batch, or no batch of an empty split, and the number of samples of the split.
    """
    generator = np.random.default_rng(seed)
    if isinstance(split, Samples):
        index = np.sort(generator.random(len(split)).argsort()[:samples])
        return [split.batch(torch.from_numpy(index))] if len(index) else [], len(split)
    kept: tuple[Inputs, Tensor, Tensor] | None = None
    population = 0
    for batch in split:
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
