"""The mini-batch that a score is computed on, and the weights that its gradients are taken for."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from hpo_gn.errors import ModelError
from hpo_gn.measures.batch import Loss
from hpo_gn.measures.samples import Inputs, call


@dataclass(frozen=True, eq=False)
class MiniBatch:
    """The samples that a score is computed on, and the model."""

    model: nn.Module
    inputs: Inputs
    targets: Tensor
    loss: Loss

    def logits(self) -> Tensor:
        """The model's logits [B, C], in the mode that it is in.

        Raises:
            ModelError: a batch norm in train mode gets a single value a channel.
        """
        with hooked(self.model, _BatchNorm, nn.Module.register_forward_pre_hook, _refuse_single_values):
            return call(self.model, self.inputs)

    def mean_loss(self) -> Tensor:
        """(1/B) Σ_i L(θ; x_i)."""
        return self.loss(self.logits(), self.targets).mean()

    def gradients(self, *, create_graph: bool = False) -> dict[nn.Parameter, Tensor]:
        """The mean loss's gradient for each of `weights`."""
        counted = list(weights(self.model))
        gradients = gradients_of(self.mean_loss(), counted, create_graph=create_graph)
        return dict(zip(counted, gradients, strict=True))

    def float_inputs(self, column: str) -> Tensor:
        """Inputs that can be any real numbers, [B, …].

        Raises:
            ModelError: they are integers, as of tokens, or several tensors.
        """
        if not isinstance(self.inputs, Tensor):
            names = ", ".join(self.inputs)
            raise ModelError(f"{column} needs inputs that are one tensor, got tensors by name: {names}")
        if not self.inputs.is_floating_point():
            raise ModelError(f"{column} needs inputs of a floating-point dtype, got {self.inputs.dtype}")
        return self.inputs


def weights(model: nn.Module) -> dict[nn.Parameter, str]:
    """The weights of Conv2d and Linear modules that require gradients, each once, and the module's name.

    Raises:
        ModelError: there is none, or one is computed from other parameters.
    """
    found: dict[nn.Parameter, str] = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            if not isinstance(module.weight, nn.Parameter):
                raise ModelError(f"the weight of layer {name!r} must be a parameter, got a computed tensor")
            if module.weight.requires_grad:
                found[module.weight] = name
    if not found:
        kind = type(model).__name__
        raise ModelError(f"{kind} has no Conv2d or Linear layer whose weight requires gradients")
    return found


def gradients_of(value: Tensor, tensors: Any, *, create_graph: bool = False) -> tuple[Tensor, ...]:
    """∂value/∂tensor, zeros where the value does not depend on it.

    Raises:
        ModelError: autograd did not record where the value comes from.
    """
    if not value.requires_grad:
        raise ModelError("the model's output must be differentiable, got one that requires no gradients")
    gradients: tuple[Tensor, ...] = torch.autograd.grad(
        value, tensors, create_graph=create_graph, materialize_grads=True
    )
    return gradients


@contextmanager
def hooked(
    model: nn.Module, kinds: Any, register: Callable[..., Any], hook: Callable[..., Any]
) -> Iterator[None]:
    """Inside, all modules of some kinds have a hook, whose first argument is the module's name."""
    with ExitStack() as stack:
        for name, module in model.named_modules():
            if isinstance(module, kinds):
                stack.callback(register(module, partial(hook, name)).remove)
        yield


def _refuse_single_values(name: str, module: nn.Module, args: tuple[Any, ...]) -> None:
    if module.training and args and args[0].numel() == args[0].shape[1]:
        shape = list(args[0].shape)
        raise ModelError(
            f"batch norm {name!r} needs more than one value a channel in train mode, got inputs {shape}"
        )
