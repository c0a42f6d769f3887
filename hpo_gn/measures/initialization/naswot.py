"""naswot: how well the ReLUs tell samples apart."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from hpo_gn.errors import ModelError
from hpo_gn.measures.initialization.mini_batch import MiniBatch
from hpo_gn.measures.initialization.score import Score

_RELUS = {functional.relu, torch.relu, torch.relu_, Tensor.relu, Tensor.relu_}


@dataclass(frozen=True)
class NASWOT(Score):
    """Column `naswot` = log |det K|, K = Σ over ReLUs of x xᵀ + (1 − x)(1 − x)ᵀ, x = (input > 0), [B, units]
    (Mellor et al. 2021, "Neural architecture search without training").

    K_ij is the number of units that samples i and j both switch on or both switch off. A ReLU is each call of
    an `nn.ReLU`, of `torch.relu` or of `torch.nn.functional.relu`, in train mode. K and its determinant are
    in float64.

    Arguments and errors are those of `Score`; ModelError also if there is no ReLU, if a ReLU's input does not
    begin with the samples, or if K is singular: the ReLUs do not tell some samples apart, as when there are
    more samples than units + 1.
    """

    column: ClassVar[str] = "naswot"

    @torch.no_grad()
    def score(self, batch: MiniBatch) -> float:
        """One forward pass."""
        samples = len(batch.targets)
        with _ReLUs(samples) as relus:
            logits = batch.logits()
        if not relus.kernels:
            raise ModelError(f"naswot needs a model with ReLUs, and {type(batch.model).__name__} has none")
        if not logits.isfinite().all():
            return math.nan
        kernel = torch.stack(relus.kernels).sum(dim=0)
        rank = int(torch.linalg.matrix_rank(kernel, hermitian=True))
        if rank < samples:
            raise ModelError(
                f"naswot needs samples that the ReLUs tell apart, got K of rank {rank} for {samples} samples"
            )
        determinant: Tensor = torch.linalg.slogdet(kernel).logabsdet
        return determinant.item()


class _ReLUs(TorchFunctionMode):
    """Each ReLU's part of K, [B, B]."""

    def __init__(self, samples: int) -> None:
        super().__init__()
        self._samples = samples
        self.kernels: list[Tensor] = []

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if function in _RELUS:
            self._add(args[0] if args else (kwargs or {})["input"])  # before it may be overwritten
        return function(*args, **(kwargs or {}))

    def _add(self, inputs: Tensor) -> None:
        if inputs.dim() < 2 or len(inputs) != self._samples:
            shape = list(inputs.shape)
            raise ModelError(
                f"naswot needs ReLUs' inputs that begin with the {self._samples} samples, got {shape}"
            )
        active = (inputs.flatten(1) > 0).double()
        self.kernels.append(active @ active.T + (1 - active) @ (1 - active).T)
