"""Which devices there are, and how many workers each takes."""

from collections.abc import Sequence

import torch

from hpo_gn.errors import ArgumentError


def devices(name: str) -> list[torch.device]:
    """The devices that a name means: "auto" is every GPU, else the CPU; "cuda" every GPU.

    Raises:
        ArgumentError: there is no such device.
    """
    gpus = [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
    if name == "cpu" or (name == "auto" and not gpus):
        return [torch.device("cpu")]
    if name in ("auto", "cuda") and gpus:
        return gpus
    try:
        device = torch.device(name)
        if device not in gpus:  # one of those is not touched: its context would stay in this process
            torch.empty(0, device=device)
    except (RuntimeError, AssertionError):
        raise ArgumentError("device", "auto, cpu, or a GPU that is there", name) from None
    return [device]


def workers_that_fit(asked: int, free_bytes: int, bytes_each: int) -> int:
    """How many of the workers asked for fit in a GPU's memory, a tenth of it left free; at least one."""
    if bytes_each <= 0:
        return asked
    return max(1, min(asked, int(0.9 * free_bytes) // bytes_each))


def assign(count: int, there: Sequence[torch.device]) -> list[torch.device]:
    """Devices of so many workers, in turn."""
    return [there[index % len(there)] for index in range(count)]
