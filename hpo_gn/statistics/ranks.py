"""Ranks of many methods over blocks that all of them share (Demšar 2006)."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import friedmanchisquare, rankdata, studentized_range

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Ranks:
    """Average ranks, 1 is best, and whether they differ.

    Args:
        average: of each method, [methods].
        blocks: how many blocks they are averages over.
        p: Friedman's, that all methods are alike; NaN for fewer than 3 methods or 2 blocks.
        critical_difference: of Nemenyi's test at 5 %: average ranks that differ by less are not told apart;
            NaN likewise.
    """

    average: Floats
    blocks: int
    p: float
    critical_difference: float


def rank(scores: ArrayLike) -> Ranks:
    """Rank methods in each block, the highest score first, ties sharing their average rank.

    Args:
        scores: [blocks, methods], all finite.
    """
    values = np.asarray(scores, dtype=np.float64)
    blocks, methods = values.shape
    average = rankdata(-values, axis=1).mean(axis=0) if blocks else np.full(methods, math.nan)
    if methods < 3 or blocks < 2:
        return Ranks(average, blocks, math.nan, math.nan)
    return Ranks(average, blocks, _friedman(values), critical_difference(methods, blocks))


def _friedman(values: Floats) -> float:
    if (values == values[:, :1]).all():  # every block is one tie, of which scipy makes NaN
        return 1.0
    return float(friedmanchisquare(*values.T).pvalue)


def critical_difference(methods: int, blocks: int, level: float = 0.05) -> float:
    """Nemenyi's: q_α √(k(k + 1) / 6N), q_α the studentized range's quantile over √2 (Demšar 2006, section
    3.2.2).

    Args:
        methods: k.
        blocks: N.
        level: α.
    """
    q = studentized_range.isf(level, methods, math.inf) / math.sqrt(2)
    return float(q * math.sqrt(methods * (methods + 1) / (6 * blocks)))
