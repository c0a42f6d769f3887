"""The papers' networks, and any network by name: functions (input shape, number of classes) → module."""

from typing import Any

import torch
from torch import nn

from hpo_gn import registry
from hpo_gn.errors import HpoGnError, ModelError

__all__ = ["build_model"]


def build_model(name: str, shape: tuple[int, ...], classes: int, **extra: Any) -> nn.Module:
    """The model of a name, checked on two inputs of zeros.

    Args:
        name: a registered model, or "module:function" for a function called like the registered ones.
        shape: one input's shape; inputs are [N, *shape].
        classes: number of classes; logits must be [N, classes].
        extra: passed to the model's function.

    Raises:
        UnknownNameError: no model is registered under the name.
        ArgumentError: the module or function does not exist, or the model refuses the shape.
        ModelError: the function fails, gives no module, or its module does not give [2, classes].
    """
    factory = registry.load("model", name)
    try:
        model = factory(shape, classes, **extra)
    except HpoGnError:
        raise
    except Exception as error:
        raise ModelError(f"model {name} cannot be built: {_first_line(error)}") from error
    if not isinstance(model, nn.Module):
        raise ModelError(f"model {name} must be a torch.nn.Module, got {type(model).__name__}")
    _check_logits(name, model, shape, classes)
    return model


def _check_logits(name: str, model: nn.Module, shape: tuple[int, ...], classes: int) -> None:
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            logits = model(torch.zeros(2, *shape))
    except Exception as error:
        raise ModelError(f"model {name} fails on inputs [2, {_join(shape)}]: {_first_line(error)}") from error
    finally:
        model.train(training)
    if not isinstance(logits, torch.Tensor) or logits.shape != (2, classes):
        got = list(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
        raise ModelError(
            f"model {name} must give logits [2, {classes}] for inputs [2, {_join(shape)}], got {got}"
        )


def _join(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
