"""Numpy's global random numbers, lent to a library and put back."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

_LOCK = threading.RLock()


@contextmanager
def global_random(state: np.random.RandomState) -> Iterator[None]:
    """Numpy's global generator in the given state, for libraries that know no other; it is put back."""
    with _LOCK:
        before = np.random.get_state()
        np.random.set_state(state.get_state())
        try:
            yield
        finally:
            np.random.set_state(before)
