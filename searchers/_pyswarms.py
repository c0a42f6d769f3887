"""pyswarms' backend, kept from the root logger and the working directory."""

import functools
import logging.config
import threading
import warnings
from types import SimpleNamespace
from typing import Any

_LOCK = threading.RLock()


@functools.cache
def backend() -> Any:
    """pyswarms' `Swarm`, `compute_pbest` and handlers, imported at the first call.

    Importing pyswarms, and making any of its handlers and topologies, rewrites the root logger and opens
    `report.log` in the working directory: here logging's `dictConfig` does nothing meanwhile.
    """
    with _LOCK, warnings.catch_warnings():
        # Its docstrings have invalid escapes, which Python reports when it compiles them.
        warnings.simplefilter("ignore")
        configure = logging.config.dictConfig
        logging.config.dictConfig = _configure_nothing
        try:
            from pyswarms.backend import compute_pbest, generate_velocity  # type: ignore[import-untyped]
            from pyswarms.backend.handlers import (  # type: ignore[import-untyped]
                BoundaryHandler,
                VelocityHandler,
            )
            from pyswarms.backend.swarms import Swarm  # type: ignore[import-untyped]
            from pyswarms.backend.topology import Star  # type: ignore[import-untyped]

            return SimpleNamespace(
                Swarm=Swarm,
                compute_pbest=compute_pbest,
                generate_velocity=generate_velocity,
                star=Star(),
                velocity_handler=VelocityHandler(strategy="unmodified"),
                boundary_handler=BoundaryHandler(strategy="nearest"),
            )
        finally:
            logging.config.dictConfig = configure


def _configure_nothing(config: object) -> None:
    """Stand in for `logging.config.dictConfig`."""
