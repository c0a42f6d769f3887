"""The last linear layer, watched during an evaluation pass."""

from collections.abc import Iterator
from contextlib import contextmanager

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
        raise UnknownNameError("module of the model", name, modules)
    layer = modules[name]
    if not isinstance(layer, nn.Linear):
        raise ModelError(f"layer {name!r} must be an nn.Linear, got {type(layer).__name__}")
    return layer


class Watch:
    """Catches one linear layer's input and output in each forward pass.

    From the layer's output on, gradients are recorded: δ then costs a backward pass through what follows the
    layer, usually nothing but the loss, while the network before it runs without gradients.
    """

    def __init__(self, layer: nn.Linear) -> None:
        self.layer = layer
        self._seen: list[tuple[Tensor, Tensor]] = []

    def _hook(self, _module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        torch.set_grad_enabled(True)  # `undisturbed` around the pass turns it off again
        leaf = output.detach().requires_grad_()
        self._seen.append((inputs[0].detach(), leaf))
        return leaf

    def take(self) -> tuple[Tensor, Tensor]:
        """Input [B, d] and output [B, k] of the layer in the forward pass just made.

        Raises:
            ModelError: the layer did not run exactly once, or not on one vector a sample.
        """
        calls, self._seen = self._seen, []
        if len(calls) != 1:
            raise ModelError(
                f"the watched linear layer must run once in a forward pass, and ran {len(calls)} times"
            )
        (seen,) = calls
        if seen[0].dim() != 2:
            raise ModelError(
                f"the watched linear layer must get one vector a sample [B, d], got {list(seen[0].shape)}"
            )
        return seen

    @contextmanager
    def attached(self) -> Iterator["Watch"]:
        """Watch inside this context; the hook comes off whatever happens."""
        handle = self.layer.register_forward_hook(self._hook)
        try:
            yield self
        finally:
            handle.remove()
