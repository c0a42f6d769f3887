"""Seeds derived from seeds."""

import numpy as np


def derive_seed(*entropy: int) -> int:
    """A seed below 2^63 that is a function of all the numbers given, e.g. of a search's seed and a trial's
    number.
    """
    return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 1)
