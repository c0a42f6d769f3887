"""The per-sample gradients of one parameter, in whatever form is cheapest to keep."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

CHUNK = 2**19
"""Numbers that a chunk of per-sample gradients holds at most, a single sample's aside: 2 MiB of float32, so
that a CPU's cache still has them when they are added up.
"""


@dataclass(frozen=True)
class Place:
    """Whose gradients these are.

    Args:
        name: the parameter's, as in `model.named_parameters()`.
        parameter: itself.
        samples: those of the batch that the gradients are of.
        batch: the batch's number of samples.
    """

    name: str
    parameter: nn.Parameter
    samples: slice
    batch: int

    def __len__(self) -> int:
        return len(range(self.batch)[self.samples])


class Gradient(ABC):
    """∇_q L(θ; x_i) of one parameter q [*shape] and n samples i, not stored.

    A form knows how to give some samples' gradients; what is summed over them is computed chunk by chunk,
    unless the form knows something cheaper. All results are float32, or float64 for a float64 model.

    Args:
        place: whose they are.
    """

    def __init__(self, place: Place) -> None:
        self.place = place

    def __len__(self) -> int:
        return len(self.place)

    @abstractmethod
    def per_sample(self, index: slice) -> Tensor:
        """The gradients of the samples at an index, [b, *shape]; the caller may write over them."""

    @abstractmethod
    def is_finite(self) -> bool:
        """Whether what came back to the parameter's layer is; signs would hide that it is not."""

    def chunks(self) -> Iterator[tuple[slice, Tensor]]:
        """All gradients, some samples at a time."""
        size = max(1, CHUNK // max(1, self.place.parameter.numel()))
        for start in range(0, len(self), size):
            index = slice(start, min(start + size, len(self)))
            yield index, self.per_sample(index)

    def squared_norms(self) -> Tensor:
        """‖∇_q L(θ; x_i)‖², [n]."""
        return torch.cat([squared_rows(gradients) for _, gradients in self.chunks()])

    def moments(self) -> tuple[Tensor, Tensor]:
        """Σ_i g_i and Σ_i g_i² of each element, [*shape] both."""
        first, second = self._zeros(), self._zeros()
        self.add_moments(first, second)
        return first, second

    def add_moments(self, first: Tensor, second: Tensor) -> None:
        """Add Σ_i g_i and Σ_i g_i² to what is there, [*shape] both."""
        for _, gradients in self.chunks():
            first += gradients.sum(dim=0)
            second += gradients.square_().sum(dim=0)

    def sign_sums(self) -> Tensor:
        """Σ_i sign(g_i) of each element, [*shape], whole numbers."""
        total = self._zeros()
        for _, gradients in self.chunks():
            total += gradients.sign_().sum(dim=0)
        return total

    def nonzeros(self) -> Tensor:
        """Σ_i |sign(g_i)| of each element, [*shape], whole numbers."""
        total = self._zeros()
        for _, gradients in self.chunks():
            total += gradients.count_nonzero(dim=0)
        return total

    def _zeros(self) -> Tensor:
        parameter = self.place.parameter
        return torch.zeros(parameter.shape, dtype=working_dtype(parameter.dtype), device=parameter.device)


class Direct(Gradient):
    """Gradients that are there already: biases, scales of normalizations, and what has no cheaper form.

    Args:
        place: whose they are.
        gradients: [n, *shape].
    """

    def __init__(self, place: Place, gradients: Tensor) -> None:
        super().__init__(place)
        self._gradients = working(gradients)

    def per_sample(self, index: slice) -> Tensor:
        """The gradients of the samples at an index, [b, *shape]."""
        return self._gradients[index].clone()

    def is_finite(self) -> bool:
        """Whether they are."""
        return has_finite_sum(self._gradients)


def has_finite_sum(tensor: Tensor) -> bool:
    """False if an element is NaN or infinite; one pass, which writes nothing."""
    return bool(tensor.sum().isfinite())


def working_dtype(dtype: torch.dtype) -> torch.dtype:
    """What sums are computed in: float64 for float64, else float32."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def working(tensor: Tensor) -> Tensor:
    """A tensor in the dtype that sums are computed in."""
    return tensor.to(working_dtype(tensor.dtype))


def squared_rows(tensor: Tensor) -> Tensor:
    """Σ of squares of each row's elements: [n, …] → [n]. The norm reads a row once and writes nothing."""
    norms: Tensor = torch.linalg.vector_norm(tensor.reshape(len(tensor), -1), dim=1)
    return norms.square()
