"""fisher: what the loss would lose with each channel."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from hpo_gn.errors import ModelError
from hpo_gn.measures.initialization.mini_batch import MiniBatch, gradients_of, hooked, weights
from hpo_gn.measures.initialization.score import Score


@dataclass(frozen=True)
class Fisher(Score):
    """Column `fisher` = Σ_c f_c · ½ · (1/B) Σ_n (Σ_space a_nc · ∂L/∂a_nc)² (Theis et al. 2018, "Faster gaze
    prediction with dense networks and Fisher pruning"; Turner et al. 2020, "BlockSwap"; summed over the
    network: Abdelfattah et al. 2021, section 3.2).

    c runs over the output channels of the Conv2d and Linear layers, those whose weight requires gradients; a
    is the layer's output, before an activation function; f_c is the fan-in, the channel's number of weights.
    Space is all that is neither sample nor channel, and the calls of a layer that runs more than once. L is
    the mean loss of the mini-batch, in train mode. Gradients are of the model's dtype, squares and sums in
    float64.

    Arguments and errors are those of `Score`; ModelError also if a layer's output does not begin with the
    samples, or if the layer is never called though its weight is used, as by `nn.MultiheadAttention`.
    """

    column: ClassVar[str] = "fisher"

    def score(self, batch: MiniBatch) -> float:
        """One forward and one backward pass."""
        counted = weights(batch.model)
        with _masked(batch.model, len(batch.targets)) as masks:
            loss = batch.mean_loss()
        slopes = gradients_of(loss, [masks.get(weight, weight) for weight in counted])
        total = 0.0
        for (weight, name), slope in zip(counted.items(), slopes, strict=True):
            if weight in masks:
                channels = slope.double().square().mean(dim=0) / 2
                total += math.prod(weight.shape[1:]) * channels.sum().item()
            elif slope.any():
                raise ModelError(f"fisher needs the output of layer {name!r}, which is never called")
        return total


@contextmanager
def _masked(model: nn.Module, samples: int) -> Iterator[dict[Tensor, Tensor]]:
    """Inside, layers' outputs are multiplied by ones, one a sample and channel: ∂L/∂mask = Σ_space a · ∂L/∂a.

    Yields:
        The masks [B, channels] of the layers that were called, by the layer's weight.
    """
    masks: dict[Tensor, Tensor] = {}

    def mask(name: str, layer: nn.Conv2d | nn.Linear, _: object, output: Tensor) -> Tensor:
        if len(output) != samples:
            raise ModelError(
                f"fisher needs outputs of layer {name!r} that begin with the {samples} samples, got "
                f"{list(output.shape)}"
            )
        channels = len(layer.weight)
        if layer.weight not in masks:
            masks[layer.weight] = output.new_ones(samples, channels).requires_grad_()
        shape = [samples, *[1] * (output.dim() - 1)]
        shape[1 if isinstance(layer, nn.Conv2d) else -1] = channels
        return output * masks[layer.weight].view(shape)

    with hooked(model, nn.Conv2d | nn.Linear, nn.Module.register_forward_hook, mask):
        yield masks
