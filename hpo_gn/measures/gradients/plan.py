"""How a model is divided for reading its per-sample gradients."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor, nn
from torch.autograd.graph import Node

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
    units = list(_units("", model, wanted, set()))
    if not units:
        raise ModelError(f"no parameter of {type(model).__name__} that is measured requires gradients")
    return units


def whole(model: nn.Module, units: list[Unit]) -> list[Unit]:
    """The model as one unit, for parameters that are used in places which no layer's call shows."""
    wanted = {parameter for unit in units for parameter in unit.parameters.values()}
    parameters = {name: each for name, each in model.named_parameters() if each in wanted}
    return [Unit("", model, False, parameters)]


def _units(name: str, module: nn.Module, wanted: Wanted, seen: set[nn.Module]) -> Iterator[Unit]:
    if module in seen:  # several modules may have one inside
        return
    seen.add(module)
    form = has_form(module)
    if form or any(parameter is not None for parameter in module._parameters.values()):
        first = {parameter: name for name, parameter in reversed([*_parameters("", module, wanted)])}
        parameters = {name: parameter for parameter, name in reversed(first.items())}
        if parameters:
            yield Unit(name, module, form, parameters)
        return
    for child_name, child in module.named_children():
        yield from _units(f"{name}.{child_name}".lstrip("."), child, wanted, seen)


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


def uses_outside(logits: Tensor, calls: Mapping[Node, Iterable[Tensor]]) -> set[nn.Parameter]:
    """The parameters that enter the graph outside of what calls show.

    Args:
        logits: what the graph computes.
        calls: the inputs of each call, by the node that its output comes from.
    """
    found: set[nn.Parameter] = set()
    seen, waiting = set(), [logits.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node in calls:
            waiting.extend(each.grad_fn for each in calls[node])
        elif (parameter := getattr(node, "variable", None)) is not None:
            found.add(parameter)
        else:
            waiting.extend(following for following, _ in node.next_functions)
    return found
