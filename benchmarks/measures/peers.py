"""What else gives per-sample gradients: Opacus, BackPACK, `torch.func.vmap` and a loop."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.functional import batch_norm, cross_entropy

from benchmarks.measures.ours import Method, Prepared, flattened, sign_weights
from hpo_gn.measures.gradients.gradient import squared_rows

Reader = Callable[[nn.Module, Tensor, Tensor, Sequence[str]], Iterator[Sequence[Tensor]]]
"""(model, inputs [B, …], targets [B], parameters' names) → their per-sample gradients, [b, *shape] each, some
samples at a time.
"""


class FrozenBatchNorm(nn.Module):
    """A batch norm in evaluation mode for Opacus, which reads no layer in that mode and none with buffers."""

    def __init__(self, layer: nn.BatchNorm2d) -> None:
        super().__init__()
        self.weight, self.bias = layer.weight, layer.bias
        self._mean_var_eps = layer.running_mean, layer.running_var, layer.eps

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs [B, C, H, W], normalized."""
        mean, var, eps = self._mean_var_eps
        return batch_norm(inputs, mean, var, self.weight, self.bias, eps=eps)


@contextmanager
def opacus_norms(model: nn.Module, inputs: Tensor, targets: Tensor) -> Iterator[Prepared]:
    """Opacus, ghost clipping: norms without gradients where it knows the layer."""
    from opacus.grad_sample import GradSampleModuleFastGradientClipping  # optional

    model = deepcopy(model)
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            model.set_submodule(name, FrozenBatchNorm(module))
    wrapped = GradSampleModuleFastGradientClipping(
        model.train(), use_ghost_clipping=True, strict=False, loss_reduction="sum"
    )

    def run() -> None:
        wrapped.zero_grad(set_to_none=True)
        cross_entropy(wrapped(inputs), targets, reduction="sum").backward()
        wrapped.get_norm_sample()

    with _quiet():
        yield Prepared(run, lambda: wrapped.per_sample_gradient_norms.square())


@contextmanager
def backpack_norms(model: nn.Module, inputs: Tensor, targets: Tensor) -> Iterator[Prepared]:
    """BackPACK's BatchL2Grad."""
    from backpack.extensions import BatchL2Grad  # optional

    model, run = _backpack(model, inputs, targets, BatchL2Grad())
    with _quiet():
        yield Prepared(run, lambda: torch.stack([each.batch_l2 for each in model.parameters()]).sum(dim=0))


@contextmanager
def backpack_moments(model: nn.Module, inputs: Tensor, targets: Tensor) -> Iterator[Prepared]:
    """BackPACK's SumGradSquared, and the gradients that the same backward pass leaves."""
    from backpack.extensions import SumGradSquared  # optional

    model, run = _backpack(model, inputs, targets, SumGradSquared())

    def result() -> Tensor:
        parameters = list(model.parameters())
        squares = [each.sum_grad_squared for each in parameters]
        return flattened([each.grad for each in parameters] + squares) / len(targets)

    with _quiet():
        yield Prepared(run, result)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch says of a backward hook on a layer whose input requires no gradients."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Full backward hook is firing")
        yield


def _backpack(
    model: nn.Module, inputs: Tensor, targets: Tensor, extension: object
) -> tuple[nn.Module, Callable[[], None]]:
    from backpack import backpack, extend

    model = deepcopy(model)
    for module in model.modules():
        if not list(module.children()):  # it knows layers, not what holds them
            extend(module)
    loss = extend(nn.CrossEntropyLoss(reduction="sum"))

    def run() -> None:
        model.zero_grad(set_to_none=True)
        with backpack(extension):
            loss(model(inputs), targets).backward()

    return model, run


def vmapped(chunk: int) -> Reader:
    """`vmap(grad(loss))`, a chunk at once."""

    def read(
        model: nn.Module, inputs: Tensor, targets: Tensor, names: Sequence[str]
    ) -> Iterator[Sequence[Tensor]]:
        fixed = {name: each.detach() for name, each in (*model.named_parameters(), *model.named_buffers())}

        def loss(wanted: dict[str, Tensor], sample: Tensor, target: Tensor) -> Tensor:
            return cross_entropy(functional_call(model, fixed | wanted, sample[None]), target[None])

        wanted = {name: fixed[name] for name in names}
        gradients = vmap(grad(loss), (None, 0, 0))
        for piece in zip(inputs.split(chunk), targets.split(chunk), strict=True):
            yield list(gradients(wanted, *piece).values())

    return read


def looped(
    model: nn.Module, inputs: Tensor, targets: Tensor, names: Sequence[str]
) -> Iterator[Sequence[Tensor]]:
    """A forward and a backward pass a sample."""
    parameters = [model.get_parameter(name) for name in names]
    for index in range(len(targets)):
        sample = slice(index, index + 1)
        gradients = torch.autograd.grad(cross_entropy(model(inputs[sample]), targets[sample]), parameters)
        yield [each[None] for each in gradients]


def norms_by(reader: Reader, samples: int | None = None) -> Method:
    """‖∇L(θ; x_i)‖² of the first samples, or of all."""

    @contextmanager
    def method(model: nn.Module, inputs: Tensor, targets: Tensor) -> Iterator[Prepared]:
        found: list[Tensor] = []

        def run() -> None:
            found.clear()
            for gradients in reader(model, inputs[:samples], targets[:samples], all_of(model)):
                found.append(sum(squared_rows(each) for each in gradients))
                del gradients  # before the next ones are there

        yield Prepared(run, lambda: torch.cat(found), samples)

    return method


def signs_by(reader: Reader) -> Method:
    """τ."""

    @contextmanager
    def method(model: nn.Module, inputs: Tensor, targets: Tensor) -> Iterator[Prepared]:
        names, found = sign_weights(model), [torch.zeros(())]

        def run() -> None:
            sums = [torch.zeros_like(model.get_parameter(name)) for name in names]
            for gradients in reader(model, inputs, targets, names):
                for total, each in zip(sums, gradients, strict=True):
                    total += each.sign_().sum(dim=0)
                del gradients
            found[0] = sum(each.abs().sum(dtype=torch.float64) for each in sums)

        yield Prepared(run, lambda: found[0])

    return method


def moments_by(reader: Reader) -> Method:
    """Mean of g and of g²."""

    @contextmanager
    def method(model: nn.Module, inputs: Tensor, targets: Tensor) -> Iterator[Prepared]:
        sums: list[Tensor] = []

        def run() -> None:
            parameters = list(model.parameters())
            first, second = ([torch.zeros_like(each) for each in parameters] for _ in range(2))
            for gradients in reader(model, inputs, targets, all_of(model)):
                for one, two, each in zip(first, second, gradients, strict=True):
                    one += each.sum(dim=0)
                    two += each.square_().sum(dim=0)
                del gradients
            sums[:] = [*first, *second]

        yield Prepared(run, lambda: flattened(sums) / len(targets))

    return method


def all_of(model: nn.Module) -> list[str]:
    """The names of all parameters."""
    return [name for name, _ in model.named_parameters()]
