"""Two functions timed against each other, and the memory that a call takes."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch.profiler import ProfilerActivity, profile

LEAST_ROUNDS = 5
os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else the profiler writes its stages to stderr


@dataclass(frozen=True)
class Effort:
    """How long to time one row.

    Args:
        rounds: at most.
        seconds: until which rounds go on, of which there are at least 5 if `rounds` allows.
    """

    rounds: int
    seconds: float


@dataclass(frozen=True)
class Timing:
    """Seconds of the unit and of the method, one each a round."""

    unit_s: list[float]
    method_s: list[float]

    @property
    def ratios(self) -> list[float]:
        """Method / unit, one a round."""
        return [method / unit for unit, method in zip(self.unit_s, self.method_s, strict=True)]


def clock(device: torch.device) -> float:
    """Seconds: of the processor, which other processes inflate less than wall time; on a GPU of wall time."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return time.perf_counter()
    return time.process_time()


def interleave(
    unit: Callable[[], object], method: Callable[[], object], effort: Effort, device: torch.device
) -> Timing:
    """Both timed in each round, one after the other in alternating order; a first round does not count."""
    timing = Timing([], [])
    began = clock(device)
    for number in range(1 + effort.rounds):
        pair = [(unit, timing.unit_s), (method, timing.method_s)]
        for function, seconds in pair[:: (-1) ** number]:
            start = clock(device)
            function()
            seconds.append(clock(device) - start)
        if number >= LEAST_ROUNDS and clock(device) - began > effort.seconds:
            break
    return Timing(timing.unit_s[1:], timing.method_s[1:])


def peak_bytes(function: Callable[[], object], device: torch.device) -> int:
    """The most that one call holds at a time beyond what was there before: bytes of torch's allocator, on a
    CPU as its profiler sees them, so without what libraries allocate for themselves.
    """
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        function()
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        function()
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    sizes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    return max(accumulate(sizes, initial=0))
