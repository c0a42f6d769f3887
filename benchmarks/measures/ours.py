"""The products under test and, alike, what they are compared with: prepared for a batch, run many times."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hpo_gn.measures import cross_entropy
from hpo_gn.measures.gradients import Backpropagation, Gradient
from hpo_gn.measures.gradients.batch_norm import with_statistics_of_one_sample
from hpo_gn.measures.initialization.grad_sign import absolute_sum, is_counted_weight
from hpo_gn.measures.moments import MomentSums


@dataclass(frozen=True)
class Prepared:
    """A computation on one batch.

    Args:
        run: what is timed.
        result: of the last run.
        samples: how many of the batch it computes, from the first one on; None for all.
    """

    run: Callable[[], object]
    result: Callable[[], Tensor]
    samples: int | None = None


Method = Callable[[nn.Module, Tensor, Tensor], AbstractContextManager[Prepared]]
"""(model, inputs [B, …], targets [B]) → the computation; what it hooks to the model comes off at the end."""


@contextmanager
def norms(model: nn.Module, inputs: Tensor, targets: Tensor) -> Iterator[Prepared]:
    """‖∇L(θ; x_i)‖², [B], as `GN` gets them."""
    sweep, total = Backpropagation(model), torch.zeros(len(targets), device=inputs.device)

    def visit(gradient: Gradient) -> None:
        total[gradient.place.samples] += gradient.squared_norms()

    def run() -> None:
        total.zero_()
        _propagate(sweep, inputs, targets, visit)

    with sweep.attached():
        yield Prepared(run, lambda: total)


@contextmanager
def signs(model: nn.Module, inputs: Tensor, targets: Tensor) -> Iterator[Prepared]:
    """τ as `GradSign` gets it, in the mode that the model is in."""
    with with_statistics_of_one_sample(model):
        sweep, sums = Backpropagation(model, is_counted_weight), list[int]()

        def run() -> None:
            sums.clear()
            _propagate(
                sweep,
                inputs,
                targets,
                lambda gradient: sums.append(absolute_sum(gradient.sign_sums(), len(targets))),
            )

        with sweep.attached():
            yield Prepared(run, lambda: torch.tensor(sum(sums)))


@contextmanager
def moments(model: nn.Module, inputs: Tensor, targets: Tensor) -> Iterator[Prepared]:
    """Mean of g and of g², all parameters' in one vector, of the sums that `GSNR` gathers."""
    sweep, sums = Backpropagation(model), MomentSums()

    def run() -> None:
        _propagate(sweep, inputs, targets, sums.add)
        sums.count(len(targets))

    def result() -> Tensor:
        found = sums.take()
        powers = {name: found.variance[name] + mean.square() for name, mean in found.mean.items()}
        names = [name for name, _ in model.named_parameters()]
        return flattened(of[name] for of in (found.mean, powers) for name in names)

    with sweep.attached():
        yield Prepared(run, result)


def flattened(tensors: Iterable[Tensor]) -> Tensor:
    """All in one vector."""
    return torch.cat([tensor.flatten() for tensor in tensors])


def sign_weights(model: nn.Module) -> list[str]:
    """The names of the parameters that GradSign reads."""
    return [
        f"{layer}.weight"
        for layer, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]


def _propagate(
    sweep: Backpropagation, inputs: Tensor, targets: Tensor, visit: Callable[[Gradient], None]
) -> None:
    with torch.no_grad():
        losses = cross_entropy(sweep.forward(inputs), targets)
        torch.set_grad_enabled(False)  # the sweep turned it on
        sweep.backward(losses, visit)
