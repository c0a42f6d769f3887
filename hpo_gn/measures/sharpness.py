"""Sharpness: how far the training loss rises in a small box around the parameters."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from torch import Tensor

from hpo_gn.errors import ArgumentError
from hpo_gn.measures.batch import Batch
from hpo_gn.measures.box import frank_wolfe, l_bfgs_b
from hpo_gn.measures.landscape import Landscape
from hpo_gn.measures.nonfinite import check_finite
from hpo_gn.measures.subspace import RandomSubspace, WholeSpace

_MAXIMIZERS = {"frank-wolfe": frank_wolfe, "l-bfgs-b": l_bfgs_b}


@dataclass(frozen=True)
class Sharpness:
    """Column `sharpness`: φ(ε, A) = 100 · (max_{y∈C_ε} f(x + A y) − f(x)) / (1 + f(x)), f the mean loss over
    training samples, x the parameters that require gradients, C_ε = {y : |y_j| ≤ ε(|(A⁺x)_j| + 1)}
    ("Analysis of the generalization gap…", metric 2.1, after Keskar et al. 2017).

    The maximum is the largest value met on the way, so that φ is a lower bound, 0 or more. A point whose loss
    is not finite is not accepted: φ is finite. The parameters of a half-precision model are rounded at each
    point, which took 2 to 16 % off φ in bfloat16.

    Memory: the samples' inputs until `compute` returns; meanwhile also the activations of 128 samples, A, and
    about ten vectors as long as the parameters, with L-BFGS-B another 30 in float64.

    Args:
        epsilon: ε; the paper has 1e-3 and 5e-4.
        subspace: p, for an A of p random columns with entries N(0, 1) (**chosen**: the paper has p = 100 and
            does not give the distribution); None for A = I.
        method: "frank-wolfe", or "l-bfgs-b", the paper's.
        iterations: of the method; each takes a forward and a backward pass over the samples, as f(x) does.
        samples: that f is the mean over, drawn at random; None for all.
        seed: of the samples and of A.

    Raises:
        ArgumentError: a value out of its range.
    """

    epsilon: float = 1e-3
    subspace: int | None = None
    method: Literal["frank-wolfe", "l-bfgs-b"] = "frank-wolfe"
    iterations: int = 10
    samples: int | None = 1000
    seed: int = 0
    split: Literal["train"] = field(default="train", init=False)
    own_passes: ClassVar[bool] = True
    _landscapes: list[Landscape] = field(default_factory=list, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not (isinstance(self.epsilon, int | float) and 0 < self.epsilon < math.inf):
            raise ArgumentError("epsilon", "a positive number", self.epsilon)
        for name in ("subspace", "iterations", "samples"):
            value, optional = getattr(self, name), name != "iterations"
            if not ((value is None and optional) or (isinstance(value, int) and value >= 1)):
                raise ArgumentError(name, "a positive integer" + " or None" * optional, value)
        if self.method not in _MAXIMIZERS:
            raise ArgumentError("method", " or ".join(map(repr, _MAXIMIZERS)), self.method)
        if not isinstance(self.seed, int) or self.seed < 0:
            raise ArgumentError("seed", "an integer of at least 0", self.seed)

    def update(self, batch: Batch) -> None:
        """Keep one batch's inputs and targets.

        Raises:
            NonFiniteError: a loss is NaN or infinite.
            ModelError: the model has no parameter that requires gradients.
        """
        check_finite(batch)
        if not self._landscapes:
            self._landscapes.append(Landscape(batch.model, batch.loss))
        self._landscapes[0].add(batch.inputs, batch.targets)

    def compute(self) -> Mapping[str, float]:
        """The column, NaN if there was no batch; starts anew.

        Raises:
            ModelError: the loss depends on no parameter that requires gradients.
            ArgumentError: the subspace has more dimensions than the model has parameters.
        """
        return {"sharpness": self._of(self._landscapes.pop()) if self._landscapes else math.nan}

    def _of(self, landscape: Landscape) -> float:
        x = landscape.x
        space = WholeSpace() if self.subspace is None else RandomSubspace(x, self.subspace, self.seed)

        def function(y: Tensor) -> tuple[float, Tensor]:
            value, gradient = landscape(space.step(y))
            return value, space.project(gradient)

        bound = self.epsilon * (space.coordinates(x).abs() + 1)
        start, highest = _MAXIMIZERS[self.method](function, bound, self.iterations)
        return 100 * (highest - start) / (1 + start)
