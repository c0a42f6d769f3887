"""How a model is divided for reading its per-sample gradients."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from hpo_gn.errors import ModelError
from hpo_gn.measures.gradients.layers import has_form

Wanted = Callable[[nn.Module, str], bool]
"""(layer, parameter's name in it) → whether its gradients are wanted."""


def every(_layer: nn.Module, _name: str) -> bool:
    """All parameters are wanted."""
    return True


@dataclass(frozen=True)
class Unit:
    """A part of a model whose gradients are read together.

    Args:
        name: in `model.named_modules()`.
        module: it.
        has_form: whether it is a layer whose gradients have a form of their own.
        parameters: those that are wanted and require gradients, by name in the module.
    """

    name: str
    module: nn.Module
    has_form: bool
    parameters: dict[str, nn.Parameter]


def plan(model: nn.Module, wanted: Wanted) -> list[Unit]:
    """The units of a model: each layer that has a form, and each outermost module that holds other parameters
    itself.

    Raises:
        ModelError: no wanted parameter requires gradients.
    """
    units = list(_units("", model, wanted))
    if not units:
        raise ModelError(f"no parameter of {type(model).__name__} that is measured requires gradients")
    return units


def whole(model: nn.Module, units: list[Unit]) -> list[Unit]:
    """The model as one unit, for parameters that are used in places which no layer's call shows."""
    parameters = {
        f"{unit.name}.{name}".lstrip("."): parameter
        for unit in units
        for name, parameter in unit.parameters.items()
    }
    return [Unit("", model, False, parameters)]


def _units(name: str, module: nn.Module, wanted: Wanted) -> Iterator[Unit]:
    form = has_form(module)
    if form or any(parameter is not None for parameter in module._parameters.values()):
        parameters = dict(_parameters("", module, wanted))
        if parameters:
            yield Unit(name, module, form, parameters)
        return
    for child_name, child in module.named_children():
        yield from _units(f"{name}.{child_name}".lstrip("."), child, wanted)


def _parameters(prefix: str, module: nn.Module, wanted: Wanted) -> Iterator[tuple[str, nn.Parameter]]:
    """Of a module and all inside it."""
    for name, parameter in module._parameters.items():
        if parameter is not None and parameter.requires_grad and wanted(module, name):
            yield f"{prefix}{name}", parameter
    for name, child in module.named_children():
        yield from _parameters(f"{prefix}{name}.", child, wanted)


def check_samples_are_apart(model: nn.Module) -> None:
    """Refuse a model in which a sample's output depends on the batch's other samples.

    Raises:
        ModelError: naming the layer.
    """
    for name, module in model.named_modules():
        batch_norm = isinstance(module, nn.modules.batchnorm._BatchNorm)
        if batch_norm and (module.training or module.running_mean is None):
            raise ModelError(
                f"layer {name!r} ({type(module).__name__}) uses the batch's own statistics, "
                "so that no sample has a gradient of its own"
            )


def uses_in_graph(output: Tensor) -> Counter[int]:
    """How often each parameter, by its id, enters the graph that a tensor was computed by."""
    uses: Counter[int] = Counter()
    seen, waiting = set(), [output.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        for following, _ in node.next_functions:
            if (parameter := getattr(following, "variable", None)) is not None:
                uses[id(parameter)] += 1
            else:
                waiting.append(following)
    return uses
