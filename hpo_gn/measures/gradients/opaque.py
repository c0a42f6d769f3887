"""Layers without a form of their own: `torch.func` on one layer at a time."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vjp, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils import _pytree as pytree

from hpo_gn.measures.gradients.gradient import CHUNK


def per_sample_gradients(
    module: nn.Module,
    parameters: Mapping[str, nn.Parameter],
    inputs: tuple[tuple[Any, ...], dict[str, Any]],
    split: list[bool],
    deltas: list[Tensor | None],
    batch: int,
) -> Iterator[tuple[slice, dict[str, Tensor]]]:
    """Any module's per-sample gradients, by running it on each sample alone, some samples at a time.

    Each sample's is a vector-Jacobian product with that sample's δ, mapped over samples by `torch.func.vmap`,
    or where the module has an operation that cannot be mapped, taken one after the other.

    Args:
        module: it.
        parameters: those that are wanted, by name in the module.
        inputs: the positional and keyword arguments of its call.
        split: of each leaf of these, whether it has a row a sample; all others are every sample's.
        deltas: ∂(Σ_i L_i)/∂ of each floating-point tensor in its output, None for one that nothing depends
            on.
        batch: B, samples.

    Returns:
        Samples, and their gradients [b, *shape] by parameter name.
    """
    leaves, structure = pytree.tree_flatten(inputs)
    values = {name: parameter.detach() for name, parameter in parameters.items()}

    def forward(sample: list[Any], delta: list[Tensor | None]) -> Callable[[dict[str, Tensor]], list[Tensor]]:
        """The parameters' values → the outputs that have δ, of one sample without the batch's side."""
        restored = [leaf.unsqueeze(0) if own else leaf for leaf, own in zip(sample, split, strict=True)]
        args, kwargs = pytree.tree_unflatten(restored, structure)

        def run(values: dict[str, Tensor]) -> list[Tensor]:
            outputs = [
                leaf
                for leaf in pytree.tree_leaves(functional_call(module, values, args, kwargs))
                if isinstance(leaf, Tensor) and leaf.is_floating_point()
            ]
            if isinstance(module, nn.RNNBase):  # whose states are [layers, B, …]
                outputs = [outputs[0], *(states.transpose(0, 1) for states in outputs[1:])]
            return [output for output, each in zip(outputs, delta, strict=True) if each is not None]

        return run

    def gradients(sample: list[Any], delta: list[Tensor | None]) -> dict[str, Tensor]:
        pull = vjp(forward(sample, delta), values)[1]
        result: dict[str, Tensor] = pull([each.unsqueeze(0) for each in delta if each is not None])[0]
        return result

    def alone(sample: list[Any], delta: list[Tensor | None]) -> dict[str, Tensor]:
        own = {name: value.clone().requires_grad_() for name, value in values.items()}
        rows = torch.autograd.grad(
            forward(sample, delta)(own),
            list(own.values()),
            [each.unsqueeze(0) for each in delta if each is not None],
            allow_unused=True,
            materialize_grads=True,
        )
        return dict(zip(own, rows, strict=True))

    size = max(1, CHUNK // max(1, sum(value.numel() for value in values.values())))
    for start in range(0, batch, size):
        index = slice(start, min(start + size, batch))
        sample = [leaf[index].detach() if own else leaf for leaf, own in zip(leaves, split, strict=True)]
        delta = [None if d is None else d[index] for d in deltas]
        axes = ([0 if own else None for own in split], [None if d is None else 0 for d in delta])
        # Attention's other kernels cannot be mapped; what torch maps by a loop of its own, it warns of.
        with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "There is a performance drop", UserWarning)
            rows = _mapped(gradients, alone, axes, sample, delta)
        yield index, rows


def _mapped(
    gradients: Callable[..., dict[str, Tensor]],
    alone: Callable[..., dict[str, Tensor]],
    axes: tuple[Any, Any],
    sample: list[Any],
    delta: list[Any],
) -> dict[str, Tensor]:
    try:
        mapped: dict[str, Tensor] = vmap(gradients, in_dims=axes)(sample, delta)
        return mapped
    except RuntimeError:  # an operation that cannot be mapped
        count = len(next(d for d in delta if d is not None))
        rows = [
            alone(
                [leaf if axis is None else leaf[row] for leaf, axis in zip(sample, axes[0], strict=True)],
                [d if axis is None else d[row] for d, axis in zip(delta, axes[1], strict=True)],
            )
            for row in range(count)
        ]
        return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}
