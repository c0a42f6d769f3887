from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from hpo_gn.measures import cross_entropy
from hpo_gn.measures.gradients import Backpropagation, Gradient
from hpo_gn.measures.gradients.gradient import Place
from hpo_gn.measures.gradients.plan import Wanted, every


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@dataclass(frozen=True)
class Read:
    """All that a `Gradient` can tell of one parameter, summed over the parts of the batch it came in."""

    per_sample: Tensor
    squared_norms: Tensor
    first: Tensor
    second: Tensor
    sign_sums: Tensor
    nonzeros: Tensor


def read_gradient(gradient: Gradient) -> Read:
    return Read(
        gradient.per_sample(slice(0, len(gradient))),
        gradient.squared_norms(),
        *gradient.moments(),
        gradient.sign_sums(),
        gradient.nonzeros(),
    )


def join(parts: list[tuple[slice, Read]]) -> Read:
    parts = sorted(parts, key=lambda part: part[0].start)
    reads = [read for _, read in parts]
    # Every sample once.
    assert [index.start for index, _ in parts] == [0, *(index.stop for index, _ in parts[:-1])]
    return Read(
        torch.cat([read.per_sample for read in reads]),
        torch.cat([read.squared_norms for read in reads]),
        *(
            sum(getattr(read, name) for read in reads)
            for name in ("first", "second", "sign_sums", "nonzeros")
        ),
    )


def read_all(model: nn.Module, inputs: Tensor, targets: Tensor, wanted: Wanted = every) -> dict[str, Read]:
    """All samples' gradients by parameter, in passes of as many samples as the sweep asks for."""
    parts: dict[str, list[tuple[slice, Read]]] = defaultdict(list)
    start, size = 0, 0

    def visit(gradient: Gradient) -> None:
        place = gradient.place
        assert dict(model.named_parameters())[place.name] is place.parameter
        assert place.batch == size
        index = slice(start + place.samples.start, start + place.samples.stop)
        parts[place.name].append((index, read_gradient(gradient)))

    with torch.no_grad(), Backpropagation(model, wanted).attached() as sweep:
        while start < len(targets):
            size = min(sweep.samples_at_once, len(targets) - start)
            index = slice(start, start + size)
            losses = cross_entropy(sweep.forward(inputs[index]), targets[index])
            torch.set_grad_enabled(False)  # the sweep turned it on
            sweep.backward(losses, visit)
            start += size
    return {name: join(each) for name, each in parts.items()}


@pytest.fixture(scope="session")
def read() -> Callable[..., dict[str, Read]]:
    """A function (model, inputs, targets, wanted=every) → all that is told of each parameter."""
    return read_all


def assert_near(value: Tensor, expected: Tensor, scale: Tensor | float) -> None:
    """Shapes agree, and each element up to 1e-9 of the scale."""
    assert value.shape == expected.shape
    assert value.dtype == expected.dtype
    assert ((value - expected).abs() <= 1e-9 * scale).all()


def assert_agrees(read: Mapping[str, Read], twin: Mapping[str, Tensor]) -> None:
    """Whether a backward pass tells of each parameter what the slow twin's gradients say.

    Values agree up to 1e-9 of the largest gradient's norm, signs wherever no sample's gradient is zero but
    for rounding, as those of attention's key biases are, a third of its biases.
    """
    assert read.keys() == twin.keys()
    for name, gradients in twin.items():
        told = read[name]
        norms = gradients.reshape(len(gradients), -1).norm(dim=1)
        scale = norms.max()
        assert_near(told.per_sample, gradients, scale)
        assert_near(told.squared_norms, norms.square(), scale.square())
        assert_near(told.first, gradients.sum(dim=0), len(gradients) * scale)
        assert_near(told.second, gradients.square().sum(dim=0), len(gradients) * scale.square())
        certain = ((gradients == 0) | (gradients.abs() > 1e-12 * scale)).all(dim=0)
        assert certain.double().mean() > 0.6
        for signs, expected in (
            (told.sign_sums, gradients.sign().sum(dim=0)),
            (told.nonzeros, gradients.count_nonzero(dim=0).double()),
        ):
            assert signs.shape == expected.shape
            assert torch.equal(signs[certain], expected[certain])


@pytest.fixture(scope="session")
def agrees() -> Callable[[Mapping[str, Read], Mapping[str, Tensor]], None]:
    """A function (read, twin's gradients) that fails where they differ."""
    return assert_agrees


Samples = tuple[nn.Module, Tensor, Tensor]


def around(layer: nn.Module, shape: tuple[int, ...], samples: int = 6, indices: int = 0) -> Samples:
    """A float64 classifier whose layer "2" is the one given, with layers before it and after it.

    Args:
        layer: takes [B, *shape] and keeps B.
        shape: one sample's.
        samples: how many.
        indices: for a layer that looks up integers, how many there are; nothing is then before it.

    Returns:
        The model in evaluation mode, inputs [samples, *shape] and targets.
    """
    torch.manual_seed(0)
    layer = layer.double().eval()
    inputs = torch.randint(indices, (samples, *shape)) if indices else torch.randn(samples, *shape).double()
    before = [nn.Identity()] * 2 if indices else [nn.Linear(shape[-1], shape[-1]).double(), nn.Tanh()]
    with torch.no_grad():
        width = layer(inputs[:1]).numel()
    after = [nn.Tanh(), nn.Flatten(), nn.Linear(width, 3).double()]
    return nn.Sequential(*before, layer, *after).eval(), inputs, torch.randint(3, (samples,))


@pytest.fixture(scope="session")
def classifier() -> Callable[..., Samples]:
    """A function (layer, shape, samples=6, indices=0) → model with that layer inside, inputs, targets."""
    return around


class Largest(TorchFunctionMode):
    """A context that notes how many numbers the largest tensor made inside holds."""

    numbers = 0

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self.numbers = max(self.numbers, tensor.untyped_storage().nbytes() // tensor.itemsize)
        return result


@pytest.fixture
def largest() -> Largest:
    """A context that notes how many numbers the largest tensor made inside holds."""
    return Largest()


@pytest.fixture(scope="session")
def place() -> Callable[..., Place]:
    """A function (samples, *shape) → place of a parameter of that shape, float64."""

    def build(samples: int, *shape: int) -> Place:
        parameter = nn.Parameter(torch.zeros(shape, dtype=torch.float64))
        return Place("weight", parameter, slice(0, samples), samples)

    return build


@pytest.fixture
def tokens() -> tuple[Tensor, Tensor]:
    """Tokens [6, 5] and targets [6]."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(7, (6, 5), generator=generator), torch.randint(3, (6,), generator=generator)
