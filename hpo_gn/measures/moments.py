"""Mean and variance of the per-sample gradient of every parameter."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from hpo_gn.measures.gradients import Gradient

_RECENT = 4096
"""Samples after which sums are added to the float64 ones."""


@dataclass(frozen=True)
class Moments:
    """Of n samples' gradients, by the parameters' names; float64, each of its parameter's shape.

    Args:
        samples: n.
        mean: μ̂_q, the gradient of the mean loss.
        variance: ρ̂_q², population variance. One that rounding alone would give, in the dtype of the
            gradients, is 0.
    """

    samples: int
    mean: Mapping[str, Tensor]
    variance: Mapping[str, Tensor]


class MomentSums:
    """Gathers moments batch by batch, in float64: two numbers a parameter.

    Adding to float64 costs as much as a small layer's gradients, so a few thousand samples are added up in
    the dtype of the gradients first, as they are within a batch.
    """

    def __init__(self) -> None:
        self._samples = self._recent_samples = 0
        self._sums: dict[str, list[Tensor]] = {}
        self._recent: dict[str, tuple[Tensor, Tensor]] = {}
        self._rounding = 0.0

    def add(self, gradient: Gradient) -> None:
        """Take in one parameter's gradients of some samples."""
        name = gradient.place.name
        if name in self._recent:
            gradient.add_moments(*self._recent[name])
        else:
            self._recent[name] = gradient.moments()

    def count(self, samples: int) -> None:
        """Take in that all parameters got that many samples more."""
        self._samples += samples
        self._recent_samples += samples
        if self._recent_samples >= _RECENT:
            self._settle()

    def _settle(self) -> None:
        for name, recent in self._recent.items():
            self._rounding = torch.finfo(recent[0].dtype).eps * max(8, min(self._samples, _RECENT))
            if name not in self._sums:
                self._sums[name] = [torch.zeros_like(each, dtype=torch.float64) for each in recent]
            for total, each in zip(self._sums[name], recent, strict=True):
                total += each
        self._recent, self._recent_samples = {}, 0

    def take(self) -> Moments:
        """The moments of everything since the last call."""
        self._settle()
        samples, sums, rounding = self._samples, self._sums, self._rounding
        self._samples, self._sums = 0, {}
        mean = {name: first / samples for name, (first, _) in sums.items()}
        variance = {}
        for name, (_, second) in sums.items():
            power = second / samples
            spread = power - mean[name].square()
            variance[name] = torch.where(spread > rounding * power, spread, 0.0)
        return Moments(samples, mean, variance)
