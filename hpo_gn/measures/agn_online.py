"""AGN gathered while a model is trained, without a pass of its own."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from torch import Tensor, nn

from hpo_gn.errors import ArgumentError, ModelError
from hpo_gn.measures.batch import Batch
from hpo_gn.measures.gradients.gradient import squared_rows, working
from hpo_gn.measures.last_linear import find_linear
from hpo_gn.measures.mean import Mean


@dataclass(frozen=True)
class OnlineAGN:
    """Column `agn_online`: the mean of ‖∇_FC L‖² over the samples of an epoch's training steps, each at the
    parameters that its step began with, in training mode and with augmentation.

    Another quantity than `AGN`, which is of one model in evaluation mode: it is larger while the loss falls.
    Of the same sample it is the same number. In float32 a sample fitted so well that 1 − p_y rounds loses its
    digits.

    `with measure.during_training(model): …` around the epoch, then `compute()`.

    Args:
        linear_layer: the layer's name in `model.named_modules()`; None for the last `nn.Linear` in that
            order.
        reduction: whether the loss that is propagated back is the "mean" or the "sum" over the batch.

    Raises:
        ArgumentError: another reduction.
    """

    linear_layer: str | None = None
    reduction: Literal["mean", "sum"] = "mean"
    split: Literal["train"] = field(default="train", init=False)
    _mean: Mean = field(default_factory=Mean, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.reduction not in ("mean", "sum"):
            raise ArgumentError("reduction", "'mean' or 'sum'", self.reduction)

    @contextmanager
    def during_training(self, model: nn.Module) -> Iterator[None]:
        """Inside, each backward pass is read; the hook comes off whatever happens.

        Raises:
            UnknownNameError: the model has no module of that name.
            ModelError: the module is no `nn.Linear`, or the model has none.
        """
        handle = find_linear(model, self.linear_layer).register_forward_hook(self._watch, with_kwargs=True)
        try:
            yield
        finally:
            handle.remove()

    def _watch(self, layer: nn.Linear, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> None:
        if layer.training and output.requires_grad:
            (features,) = (*args, *kwargs.values())
            if features.dim() != 2:
                raise ModelError(
                    "the watched linear layer must get one vector a sample [B, d], "
                    f"got {list(features.shape)}"
                )
            features = features.detach()
            output.register_hook(partial(self._add, features, layer.bias is not None))  # type: ignore[no-untyped-call]  # torch's

    def _add(self, features: Tensor, bias: bool, delta: Tensor) -> None:
        samples = len(delta) if self.reduction == "mean" else 1
        norms = squared_rows(working(features)) + int(bias)
        self._mean.add(squared_rows(working(delta) * samples) * norms)

    def update(self, batch: Batch) -> None:
        """Nothing: no pass over the split tells it anything."""

    def compute(self) -> Mapping[str, float]:
        """The column; starts anew.

        Raises:
            ModelError: no backward pass went through the layer, as in a model that `torch.compile` made.
        """
        if not self._mean:
            raise ModelError(
                "agn_online saw no training step; compiled models do not run the hook it is read by"
            )
        return {"agn_online": self._mean.take()}
