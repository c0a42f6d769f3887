"""Overtuning: what a search lost on the test set by going on."""

import math
from collections.abc import Sequence


def overtuning(test: Sequence[float]) -> float:
    """The best test score among a search's incumbents less that of the last, which was chosen: 0 or more.

    It is the regret of having searched on after the best of them (Schneider et al. 2025, "Overtuning in
    hyperparameter optimization", section 3).

    Args:
        test: of each incumbent in their order, higher is better; NaN where it is unknown.

    Returns:
        NaN if the last one's is unknown, or no other's is known.
    """
    known = [score for score in test[:-1] if not math.isnan(score)]
    if not test or math.isnan(test[-1]) or (not known and len(test) > 1):
        return math.nan
    return max([test[-1], *known]) - test[-1]
