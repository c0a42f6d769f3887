"""What a measure costs: seconds, and forward and backward passes."""

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class Cost:
    """What one measure, or the pass that all measures of a split share, took.

    Args:
        seconds: of wall-clock time; on a GPU, of the device's.
        forward: forward passes over the measured samples: samples that went through the model / samples
            measured.
        backward: likewise for backward passes.
    """

    seconds: float
    forward: float
    backward: float

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.seconds + other.seconds, self.forward + other.forward, self.backward + other.backward
        )


Mark = Any
"""A moment: seconds on a CPU, an event in the stream of a GPU."""


class Meter:
    """Splits the time and the passes of an evaluation among accounts, one of which pays at each moment.

    Args:
        device: where the model is.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._paying: list[str] = []
        self._stretches: list[tuple[str, Mark, Mark]] = []
        self._since: Mark = None
        self._forward: dict[str, int] = defaultdict(int)
        self._backward: dict[str, int] = defaultdict(int)

    @contextmanager
    def charge(self, account: str) -> Iterator[None]:
        """Inside, this account pays; the one outside does not."""
        self._switch()
        self._paying.append(account)
        try:
            yield
        finally:
            self._switch()
            self._paying.pop()

    def _switch(self) -> None:
        mark = self._mark()
        if self._paying:
            self._stretches.append((self._paying[-1], self._since, mark))
        self._since = mark

    def _mark(self) -> Mark:
        if self._device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # torch's
        event.record(torch.cuda.current_stream(self._device))
        return event

    @contextmanager
    def counting(self, model: nn.Module) -> Iterator[None]:
        """Inside, samples that go through the model, forward and backward, are counted."""

        recording = False

        def enter(_module: nn.Module, _args: object) -> None:
            nonlocal recording
            # Asked here, since a watched last layer turns it on for what follows that layer.
            recording = torch.is_grad_enabled()

        def leave(_module: nn.Module, _args: object, output: Any) -> None:
            logits = getattr(output, "logits", output)
            if not isinstance(logits, torch.Tensor):
                return  # which `call` refuses
            samples = len(logits)
            self.add_forward(samples)
            if recording and logits.requires_grad:
                logits.register_hook(lambda _: self._add_backward(samples))  # type: ignore[no-untyped-call]  # torch's

        with ExitStack() as stack:
            stack.callback(model.register_forward_pre_hook(enter).remove)
            stack.callback(model.register_forward_hook(leave).remove)
            yield

    def add_forward(self, samples: int) -> None:
        """Count samples that went through the model outside `counting`."""
        self._forward[self._paying[-1]] += samples

    def _add_backward(self, samples: int) -> None:
        self._backward[self._paying[-1]] += samples

    def costs(self, measured: int) -> dict[str, Cost]:
        """What each account paid so far.

        Args:
            measured: samples measured.
        """
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        seconds: dict[str, float] = defaultdict(float)
        for account, begin, end in self._stretches:
            seconds[account] += begin.elapsed_time(end) / 1e3 if self._device.type == "cuda" else end - begin
        return {
            account: Cost(paid, self._forward[account] / measured, self._backward[account] / measured)
            for account, paid in seconds.items()
        }
