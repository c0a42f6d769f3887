"""Where NaN or infinity first appears in a model."""

from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from hpo_gn.errors import NonFiniteError
from hpo_gn.measures.batch import Batch
from hpo_gn.measures.samples import call


def check_finite(batch: Batch) -> None:
    """Refuse a batch in which a loss is not finite, where a measure cannot give a number.

    Raises:
        NonFiniteError: naming the first layer whose output is not finite.
    """
    if not bool(batch.losses.isfinite().all()):
        layer = first_nonfinite_layer(batch)
        where = "the loss" if layer is None else f"the output of layer {layer!r}"
        raise NonFiniteError(f"{where} is not finite: the training diverged")


def first_nonfinite_layer(batch: Batch) -> str | None:
    """The first layer, in the order they run, whose output is not finite though it has no layers inside; None
    if all are.
    """
    found: list[str] = []
    with ExitStack() as stack, torch.no_grad():
        for name, module in batch.model.named_modules():
            if next(module.children(), None) is None:

                def look(_module: nn.Module, _args: object, output: Any, name: str = name) -> None:
                    if isinstance(output, Tensor) and not bool(output.isfinite().all()):
                        found.append(name)

                stack.callback(module.register_forward_hook(look).remove)
        call(batch.model, batch.inputs)
    return found[0] if found else None
