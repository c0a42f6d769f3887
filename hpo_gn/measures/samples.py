"""A batch's inputs as loaders give them: a tensor, or tensors by name as Hugging Face's models take."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from hpo_gn.errors import DataError, ModelError

Inputs = Tensor | Mapping[str, Tensor]
"""[B, …], or such tensors by the name of the model's argument."""

Batches = Iterable[Any]
"""(inputs, targets [B]) again and again, what a DataLoader gives; or mappings with the targets under
"labels".
"""

_TARGETS = ("labels", "label")


@runtime_checkable
class Samples(Protocol):
    """A split whose samples can be had by index, as `hpo_gn.data.Split`: a random subset need not read the
    rest.
    """

    def __len__(self) -> int:
        """N."""

    def batch(self, index: Tensor | slice) -> tuple[Inputs, Tensor]:
        """Inputs [B, …] and targets [B] of the samples at an index, int64 [B] or a slice."""


@dataclass(frozen=True)
class Pair:
    """A split that is two tensors.

    Args:
        inputs: [N, …].
        targets: [N].
    """

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def batch(self, index: Tensor | slice) -> tuple[Inputs, Tensor]:
        """The samples at an index."""
        return self.inputs[index], self.targets[index]


def unpack(batch: Any) -> tuple[Inputs, Tensor]:
    """Inputs and targets of one batch.

    Args:
        batch: (inputs, targets), or a mapping of tensors of which "labels" or "label" are the targets.

    Raises:
        DataError: it is neither.
    """
    if isinstance(batch, Mapping):
        named = dict(batch)
        for name in _TARGETS:
            if name in named:
                return named, named.pop(name)
        raise DataError(f"a batch that is a mapping must have 'labels', got {', '.join(map(str, named))}")
    try:
        inputs, targets = batch
    except (TypeError, ValueError):
        raise DataError(f"a batch must be (inputs, targets), got {type(batch).__name__}") from None
    if not isinstance(targets, Tensor) or not isinstance(inputs, Tensor | Mapping):
        kinds = f"({type(inputs).__name__}, {type(targets).__name__})"
        raise DataError(f"a batch must be (inputs, targets), tensors both, got {kinds}")
    return inputs, targets


def select(inputs: Inputs, index: Tensor | slice) -> Inputs:
    """The samples at an index."""
    if isinstance(inputs, Tensor):
        return inputs[index]
    return {name: tensor[index] for name, tensor in inputs.items()}


def count(inputs: Inputs) -> int:
    """B."""
    return len(inputs) if isinstance(inputs, Tensor) else len(next(iter(inputs.values())))


def join(parts: list[Inputs]) -> Inputs:
    """Several batches' inputs as one."""
    tensors = [part for part in parts if isinstance(part, Tensor)]
    if tensors:
        return torch.cat(tensors)
    named = [part for part in parts if isinstance(part, Mapping)]
    return {name: torch.cat([part[name] for part in named]) for name in named[0]}


def to_device(inputs: Inputs, device: torch.device) -> Inputs:
    """The same on a device."""
    if isinstance(inputs, Tensor):
        return moved(inputs, device)
    return {name: moved(tensor, device) for name, tensor in inputs.items()}


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """The same on a device; of one made in inference mode a copy, which autograd takes."""
    return tensor.to(device, copy=tensor.is_inference())


def pieces(inputs: Inputs, targets: Tensor, size: int) -> Iterator[tuple[Inputs, Tensor]]:
    """A batch in pieces of at most `size` samples."""
    for start in range(0, len(targets), size):
        index = slice(start, start + size)
        yield select(inputs, index), targets[index]


def call(model: nn.Module, inputs: Inputs) -> Tensor:
    """The model's logits: what it returns, or that output's `logits`.

    Raises:
        ModelError: it returns neither.
    """
    output = model(inputs) if isinstance(inputs, Tensor) else model(**inputs)
    logits = getattr(output, "logits", output)
    if not isinstance(logits, Tensor):
        raise ModelError(
            f"the model must return logits, or an object with 'logits', got {type(output).__name__}"
        )
    return logits
