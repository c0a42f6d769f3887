"""synflow: how much flows through the weights, whatever the data."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from hpo_gn.errors import ModelError
from hpo_gn.measures.initialization.mini_batch import MiniBatch, gradients_of, weights
from hpo_gn.measures.initialization.score import Score


@dataclass(frozen=True)
class SynFlow(Score):
    """Column `synflow` = Σ_k |W_k · ∂R/∂W_k|, R the sum of the outputs for one input of ones (Tanaka et al.
    2020, "Pruning neural networks without any data by iteratively conserving synaptic flow"; summed over the
    network: Abdelfattah et al. 2021, section 3.2).

    All parameters are replaced by their absolute values, and batch norms by identities. k runs over the
    weights of the Conv2d and Linear layers, those that require gradients. All is in float64 and in train
    mode, on a copy of the parameters, which with its gradient takes 16 bytes a parameter. Of the mini-batch
    only an input's shape matters.

    Arguments and errors are those of `Score`; ModelError also if the inputs are not one floating-point
    tensor, or the model cannot run in float64.
    """

    column: ClassVar[str] = "synflow"

    def score(self, batch: MiniBatch) -> float:
        """One forward and one backward pass of one sample."""
        ones = torch.ones_like(batch.float_inputs(self.column)[:1], dtype=torch.float64)
        copies = {parameter: parameter.detach().double().abs() for parameter in batch.model.parameters()}
        counted = [copies[weight].requires_grad_() for weight in weights(batch.model)]
        try:
            with _WithoutBatchNorm():
                logits = _logits(batch.model, copies, ones)
        except Exception as error:
            first_line = f"{type(error).__name__}: {error}".splitlines()[0]
            raise ModelError(f"synflow needs a model that takes ones in float64, got {first_line}") from error
        slopes = gradients_of(logits.sum(), counted)
        sums = [(weight.detach() * slope).abs().sum() for weight, slope in zip(counted, slopes, strict=True)]
        return torch.stack(sums).sum().item()


def _logits(model: nn.Module, parameters: dict[nn.Parameter, Tensor], inputs: Tensor) -> Tensor:
    """Logits with other parameters, and floating-point buffers in float64."""
    tensors = {name: parameters[parameter] for name, parameter in model.named_parameters()}
    for name, buffer in model.named_buffers():
        tensors[name] = buffer.double() if buffer.is_floating_point() else buffer
    output = functional_call(model, tensors, (inputs,))
    logits: Tensor = getattr(output, "logits", output)
    return logits


class _WithoutBatchNorm(TorchFunctionMode):
    """Batch norms return their input."""

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if function is functional.batch_norm:
            return args[0] if args else (kwargs or {})["input"]
        return function(*args, **(kwargs or {}))
