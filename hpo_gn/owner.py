"""Who holds what: a name for this process, from which others on its machine can tell that it died."""

import os
import socket
import uuid
from functools import cache
from pathlib import Path

_FIRST_PID_NAMESPACE = "pid:[4026531836]"  # Linux gives the machine's own namespace this number


def new_owner() -> str:
    """`machine:process:token`, another one at each call."""
    return f"{_machine()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


def is_dead(owner: str) -> bool:
    """Whether an owner was a process of this machine that is gone; False where that cannot be told."""
    parts = owner.split(":")
    if len(parts) < 3 or parts[0] != _machine() or not Path("/proc/self").exists():
        return False
    return not Path("/proc", parts[1]).exists()


@cache
def _machine() -> str:
    """The host, and in a container its process namespace too: process numbers mean nothing beyond it."""
    try:
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        namespace = _FIRST_PID_NAMESPACE
    host = socket.gethostname().replace(":", "_")
    return host if namespace == _FIRST_PID_NAMESPACE else f"{host}/{namespace.strip('pid:[]')}"
