"""The activations of hidden layers, seen by forward hooks."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.linear import NonDynamicallyQuantizableLinear

from hpo_gn.errors import ModelError, UnknownNameError

See = Callable[[str, Tensor], None]
"""(a layer's name, its activations as rows [B·…, d]), called each time that the layer runs."""

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def hidden_layers(model: nn.Module) -> dict[str, nn.Module]:
    """By the name of each hidden fully-connected layer, the `nn.Linear` whose input its activations are.

    Chosen: what a layer gives after its activation function, which often is no module, is what the next
    `nn.Linear` gets in the order of `model.named_modules()`. An only `nn.Linear` goes by its own name.

    Raises:
        ModelError: the model has no `nn.Linear`.
    """
    layers: list[tuple[str, nn.Module]] = [
        (name, module)
        for name, module in model.named_modules()
        # nn.MultiheadAttention never calls the one that it has.
        if isinstance(module, nn.Linear) and not isinstance(module, NonDynamicallyQuantizableLinear)
    ]
    if not layers:
        raise ModelError(f"{type(model).__name__} has no nn.Linear layer, whose input Spectrum reads")
    if len(layers) == 1:
        return dict(layers)
    return {name: following for (name, _), (_, following) in pairwise(layers)}


def named_layers(model: nn.Module, names: tuple[str, ...]) -> dict[str, nn.Module]:
    """The modules of these names.

    Raises:
        UnknownNameError: the model has none of a name.
    """
    modules = dict(model.named_modules())
    for name in names:
        if name not in modules:
            raise UnknownNameError("module of the model", name, filter(None, modules))
    return {name: modules[name] for name in names}


@contextmanager
def inputs_seen(layers: Mapping[str, nn.Module], see: See) -> Iterator[None]:
    """See what each layer gets; the hooks come off whatever happens."""

    def look(name: str, layer: nn.Module) -> Callable[..., None]:
        return lambda _, args, kwargs: see(name, rows_of(name, layer, [*args, *kwargs.values()][0]))

    with ExitStack() as stack:
        for name, layer in layers.items():
            stack.callback(layer.register_forward_pre_hook(look(name, layer), with_kwargs=True).remove)
        yield


@contextmanager
def outputs_seen(layers: Mapping[str, nn.Module], see: See) -> Iterator[None]:
    """See what each layer gives; the hooks come off whatever happens."""

    def look(name: str, layer: nn.Module) -> Callable[..., None]:
        return lambda *call: see(name, rows_of(name, layer, call[-1]))

    with ExitStack() as stack:
        for name, layer in layers.items():
            stack.callback(layer.register_forward_hook(look(name, layer)).remove)
        yield


def rows_of(name: str, layer: nn.Module, activations: Any) -> Tensor:
    """Activations [B, …, d] as rows [B·…, d] without a graph.

    Raises:
        ModelError: they are no tensor, or their last dimension need not be the features': there is only one,
            they come out of a convolution, or there are more than three and the layer is no `nn.Linear`.
    """
    if not isinstance(activations, Tensor):
        raise ModelError(f"layer {name!r} must give one tensor, got {type(activations).__name__}")
    most = math.inf if isinstance(layer, nn.Linear) else 3
    if isinstance(layer, _CONVOLUTIONS) or not 2 <= activations.dim() <= most:
        raise ModelError(
            f"layer {name!r} must give features in its last dimension, [B, d] or [B, T, d], "
            f"got {list(activations.shape)} of a {type(layer).__name__}"
        )
    return activations.detach().flatten(0, -2)
