"""A table that no one trained, small enough to know by heart."""

import numpy as np

from benchmarks.searchers.tables import Table


def made_table(name: str = "made/one") -> Table:
    """A bowl over 5 × 4 indices and a word, two repeats that differ by 0.02."""
    rates, widths = np.meshgrid(np.arange(5), np.arange(4), indexing="ij")
    bowl = (rates - 3) ** 2 + (widths - 1) ** 2 + 1.0
    grid = np.stack([bowl, bowl + 0.5], axis=-1)
    costs = np.stack([grid + 0.01, grid - 0.01], axis=-1)
    choices = {"rate": (0.1, 0.2, 0.4, 0.8, 1.6), "width": (8, 16, 32, 64), "activation": ("relu", "tanh")}
    return Table(name, choices, costs)
