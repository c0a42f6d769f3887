"""Something done again and again beside the main work."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def ticking(tick: Callable[[], None], every_s: float) -> Iterator[None]:
    """Call `tick` in a thread about every so many seconds inside the context, and once more when it ends."""
    done = threading.Event()

    def run() -> None:
        while not done.wait(every_s):
            tick()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        tick()
