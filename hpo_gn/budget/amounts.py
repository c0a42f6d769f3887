"""Amounts of GPU×epochs: multiples of 1/1024 of an epoch, whose sums in double precision are exact."""

import math

STEPS = 1024
"""Steps to an epoch. An account's limit has 31 bits, a step 10 more, a double 53: nothing is ever rounded."""


def rounded_up(amount: float) -> float:
    """The smallest whole number of steps that is not less, in epochs."""
    return math.ceil(amount * STEPS) / STEPS


def plain(amount: float) -> float:
    """The same amount, as an integer where it is one, so that it prints as one."""
    return int(amount) if amount == int(amount) else amount
