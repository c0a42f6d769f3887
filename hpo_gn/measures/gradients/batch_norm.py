"""Batch norm in evaluation mode, cheaper to propagate back through."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional

from hpo_gn.errors import ModelError

BatchNorm = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
AnyBatchNorm = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d


def is_plain(module: nn.Module) -> TypeGuard[AnyBatchNorm]:
    """Whether it is torch's batch norm and nothing more, which a subclass may be."""
    return type(module) in BatchNorm and "forward" not in vars(module)


@contextmanager
def as_affine_maps(model: nn.Module) -> Iterator[None]:
    """Inside, batch norms in evaluation mode are what they are there, one multiplication and addition a
    channel.

    The same numbers, but a backward pass that only multiplies, where torch's own reads the map three times
    more for the gradients of scale and shift, asked for or not. Scale and shift get no gradients from
    autograd.
    """
    with ExitStack() as stack:
        for module in model.modules():
            if is_plain(module) and not module.training:
                module.forward = partial(_apply, module)  # type: ignore[method-assign]  # for a while
                stack.callback(delattr, module, "forward")
        yield


@contextmanager
def with_statistics_of_one_sample(model: nn.Module) -> Iterator[None]:
    """Inside, batch norms in training mode see each sample of a batch as a batch of its own.

    That is an instance norm with the batch norm's scale and shift. Running statistics stay as they are.

    Raises:
        ModelError: at a forward pass in which a batch norm gets one value a channel.
    """
    with ExitStack() as stack:
        for name, module in model.named_modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.training:
                if not is_plain(module):
                    kind = type(module).__name__
                    raise ModelError(
                        f"layer {name!r} ({kind}) may do more than batch norm does, sample by sample"
                    )
                module.eval()  # its own forward pass would take the batch's statistics
                stack.callback(module.train)
                module.forward = partial(_normalize_alone, name, module)  # type: ignore[method-assign]  # likewise
                stack.callback(delattr, module, "forward")
        yield


def _normalize_alone(name: str, layer: AnyBatchNorm, inputs: Tensor) -> Tensor:
    if inputs[0, 0].numel() == 1:
        raise ModelError(
            f"layer {name!r} ({type(layer).__name__}) gets one value a channel, "
            "of which one sample has no statistics"
        )
    # One group a channel is an instance norm, whose forward pass takes three to six times as long.
    return functional.group_norm(inputs, layer.num_features, layer.weight, layer.bias, layer.eps)


def _apply(layer: AnyBatchNorm, inputs: Tensor) -> Tensor:
    if not torch.is_grad_enabled():
        return _normalize(layer, inputs)
    outputs: Tensor = _Affine.apply(inputs, layer)  # type: ignore[no-untyped-call]  # torch's
    return outputs


def _normalize(layer: AnyBatchNorm, inputs: Tensor) -> Tensor:
    return functional.batch_norm(
        inputs, layer.running_mean, layer.running_var, layer.weight, layer.bias, eps=layer.eps
    )


class _Affine(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, layer: AnyBatchNorm) -> Tensor:
        assert layer.running_var is not None
        scale = (layer.running_var + layer.eps).rsqrt()
        ctx.scale = scale if layer.weight is None else scale * layer.weight
        return _normalize(layer, inputs)

    @staticmethod
    def backward(ctx: Any, delta: Tensor) -> tuple[Tensor, None]:
        shape = (1, -1, *(1,) * (delta.dim() - 2))
        return delta * ctx.scale.view(shape).to(delta.dtype), None
