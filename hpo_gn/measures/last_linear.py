"""The last linear layer, watched during an evaluation pass."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hpo_gn.errors import ModelError, UnknownNameError


def find_linear(model: nn.Module, name: str | None = None) -> nn.Linear:
    """The named linear layer, or the last `nn.Linear` in the order of `model.named_modules()`.

    Raises:
        UnknownNameError: the model has no module of that name.
        ModelError: the module is no `nn.Linear`, or the model has none.
    """
    modules = dict(model.named_modules())
    if name is None:
        layers = [module for module in modules.values() if isinstance(module, nn.Linear)]
        if not layers:
            raise ModelError(f"{type(model).__name__} has no nn.Linear layer, which AGN is read from")
        return layers[-1]
    if name not in modules:
        raise UnknownNameError("module of the model", name, filter(None, modules))
    layer = modules[name]
    if not isinstance(layer, nn.Linear):
        raise ModelError(f"layer {name!r} must be an nn.Linear, got {type(layer).__name__}")
    return layer


@dataclass(frozen=True)
class Seen:
    """What a watched layer z = W h + b did in one forward pass.

    Args:
        features: its inputs h, [B, d].
        outputs: its outputs z, [B, k], which gradients are taken with respect to.
        passed: a copy of z, which the rest of the model got.
        bias: whether there is a b.
    """

    features: Tensor
    outputs: Tensor
    passed: Tensor
    bias: bool
    version: int = 0

    def is_left_as(self, logits: Tensor) -> bool:
        """Whether logits are z itself, not changed in place either."""
        return logits is self.passed and logits._version == self.version


class Watch:
    """Catches one linear layer's input and output in each forward pass.

    Where gradients are not recorded, they are from the layer's output on: δ then costs a backward pass
    through what follows the layer, usually nothing but the loss, while the network before it runs without
    gradients.

    Args:
        layer: it.

    Attributes:
        needs_gradients: whether δ is read from autograd; set it to False where δ follows from the layer's
            output.
    """

    def __init__(self, layer: nn.Linear) -> None:
        self._layer = layer
        self.needs_gradients = True
        self._calls: list[Seen] = []

    def _hook(
        self, layer: nn.Linear, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor
    ) -> Tensor:
        (features,) = (*args, *kwargs.values())
        if not self.needs_gradients:
            self._calls.append(Seen(features, output, output, layer.bias is not None, output._version))
            return output
        outputs = output
        if not torch.is_grad_enabled():
            torch.set_grad_enabled(True)  # the evaluation pass turns it off again
            outputs = output.detach().requires_grad_()
        # A copy, since autograd lets nobody change a leaf in place, and models do.
        passed = outputs.clone()
        self._calls.append(Seen(features.detach(), outputs, passed, layer.bias is not None))
        return passed

    def forget(self, *_: Any) -> None:
        """Begin a forward pass."""
        self._calls.clear()

    def take(self) -> Seen:
        """What the layer did in the forward pass just made.

        Raises:
            ModelError: the layer did not run exactly once, or not on one vector a sample.
        """
        calls, self._calls = self._calls, []
        if len(calls) != 1:
            raise ModelError(
                f"the watched linear layer must run once in a forward pass, and ran {len(calls)} times"
            )
        (seen,) = calls
        if seen.features.dim() != 2:
            raise ModelError(
                "the watched linear layer must get one vector a sample [B, d], "
                f"got {list(seen.features.shape)}"
            )
        return seen

    @contextmanager
    def attached(self) -> Iterator["Watch"]:
        """Watch inside this context; the hook comes off whatever happens."""
        handle = self._layer.register_forward_hook(self._hook, with_kwargs=True)
        try:
            yield self
        finally:
            handle.remove()
