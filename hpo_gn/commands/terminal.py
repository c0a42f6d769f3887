"""Standard output as commands write tables on it."""

import os
from typing import Any

from rich.console import Console


def output(width: int, **settings: Any) -> Console:
    """Standard output; where it is no terminal, so wide that a table's lines stay whole.

    Args:
        width: in characters.
        **settings: of the console.
    """
    console = Console(**settings)
    if console.is_terminal or "COLUMNS" in os.environ:
        return console
    return Console(**settings, width=width)
