"""Models that `torch.compile` made: compiled code where a pass needs the last linear layer at most."""

import copy
from contextlib import AbstractContextManager, nullcontext
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from hpo_gn.measures.last_linear import Seen, Watch, find_linear
from hpo_gn.measures.samples import Inputs, call, select

_bodies: WeakKeyDictionary[nn.Module, dict[str | None, nn.Module | None]] = WeakKeyDictionary()
"""The compiled part before the last linear layer, of each model that was measured compiled."""


def is_compiled(model: nn.Module) -> bool:
    """Whether calling the model runs compiled code."""
    return hasattr(model, "_orig_mod") or model._compiled_call_impl is not None


def uncompiled(model: nn.Module) -> nn.Module:
    """The module that `torch.compile` was given, whose layers have the names that their author gave them."""
    original: nn.Module = getattr(model, "_orig_mod", model)
    return original


def eagerly(model: nn.Module) -> AbstractContextManager[object]:
    """No compiled code runs inside: it would not see hooks on parts of a model.

    Nothing is entered where none of the model is compiled, since the compiler takes seconds to import.
    """
    if not any(is_compiled(module) for module in model.modules()):
        return nullcontext()
    return torch.compiler.set_stance("force_eager")  # type: ignore[no-any-return]  # torch's


class CompiledForward:
    """Logits, and the last linear layer's input where it is wanted, from compiled code.

    The layer's input is not to be had from the compiled model. So the model without that layer is compiled
    too: the same modules and parameters, the layer's place taken by an identity. Calling the layer on its
    output gives the logits.

    Args:
        model: compiled.
        wanted: whether the last linear layer is watched.
        name: its name, or None for the last `nn.Linear`.
    """

    def __init__(self, model: nn.Module, wanted: bool, name: str | None) -> None:
        self._model, self._name = model, name
        self._layer = find_linear(uncompiled(model), name) if wanted else None

    def fits(self, inputs: Inputs) -> bool:
        """Whether the model's logits are the layer's output and nothing else, tried on one sample."""
        if self._layer is None:
            return True
        known = _bodies.setdefault(self._model, {})
        if self._name not in known:
            known[self._name] = self._compile(select(inputs, slice(1)))
        return known[self._name] is not None

    def _compile(self, sample: Inputs) -> nn.Module | None:
        model, layer = uncompiled(self._model), self._layer
        assert layer is not None
        body = _without(model, layer)
        with eagerly(self._model), Watch(layer).attached() as watch:
            logits = call(model, sample)
            torch.set_grad_enabled(False)  # the watch turned it on
            plain = watch.take().is_left_as(logits)
        with eagerly(self._model):
            same = plain and torch.equal(layer(call(body, sample)), logits)
        context = getattr(self._model, "dynamo_ctx", None)  # the user's backend and options
        return context(body) if same and context is not None else None

    def __call__(self, inputs: Inputs) -> tuple[Tensor, Seen | None]:
        """Logits [B, C] and what the layer did."""
        if self._layer is None:
            return call(self._model, inputs), None
        body = _bodies[self._model][self._name]
        assert body is not None
        features = call(body, inputs)
        logits = self._layer(features)
        return logits, Seen(features, logits, logits, self._layer.bias is not None)


def _without(model: nn.Module, layer: nn.Module) -> nn.Module:
    """The same model with an identity in the layer's place; what holds the layer is copied, nothing else."""
    if model is layer:
        return nn.Identity()
    if all(module is not layer for module in model.modules()):
        return model
    twin = copy.copy(model)
    twin._modules = {
        name: None if child is None else _without(child, layer) for name, child in model._modules.items()
    }
    return twin
