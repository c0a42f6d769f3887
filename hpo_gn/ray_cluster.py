"""Joining a Ray cluster that is there."""

import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from hpo_gn.errors import ArgumentError, HpoGnError

_CONNECT_S = 5.0


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Ray's module, connected to a cluster inside.

    Args:
        address: `host:port` of the cluster's head, or "auto" for the cluster that this machine is a node of.

    Raises:
        HpoGnError: Ray is not installed, or the cluster cannot be joined.
    """
    _check(address)
    ray = import_ray()
    before = signal.getsignal(signal.SIGTERM)
    try:
        try:
            ray.init(address=address, log_to_driver=False, logging_level="critical")
        except Exception as error:  # of many kinds: no such cluster, another version of Ray, no node here
            raise _unreachable(address, error) from None
        yield ray
    finally:
        ray.shutdown()
        with suppress(ValueError):  # not the main thread: Ray left its signals alone, too
            signal.signal(signal.SIGTERM, before)


def import_ray() -> Any:
    """Ray's module, kept from printing what happens to its nodes on standard output, which is the result's.

    Raises:
        HpoGnError: it is not installed.
    """
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
    try:
        import ray
    except ImportError:
        raise HpoGnError("--ray needs the extra ray: pip install 'hpo_gn[ray]'") from None
    return ray


def _check(address: str) -> None:
    """Ray itself tries an address that nobody listens at for minutes."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise ArgumentError("ray", "auto or the host:port of a cluster's head", address)
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
    except OSError as error:
        raise _unreachable(address, error) from None


def _unreachable(address: str, error: Exception) -> HpoGnError:
    return HpoGnError(f"cannot join the Ray cluster at {address}: {first_line(error)}")


def first_line(error: BaseException) -> str:
    """What an error says, in one line; its type if it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
