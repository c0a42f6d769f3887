"""Models that `torch.compile` made."""

import shutil
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from hpo_gn.measures import AGN, GN, Accuracy, MeanLoss, cross_entropy, measure
from hpo_gn.measures.compiled import CompiledForward
from hpo_gn.measures.initialization import GradSign

LIGHT = [AGN(), MeanLoss("train"), Accuracy("train")]


@pytest.fixture(autouse=True)
def forget_compiled_code():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


@pytest.fixture
def used(monkeypatch) -> list[int]:
    """The sizes of the batches that went through compiled code."""
    sizes: list[int] = []
    original = CompiledForward.__call__

    def spy(self: CompiledForward, inputs: Tensor) -> object:
        sizes.append(len(inputs))
        return original(self, inputs)

    monkeypatch.setattr(CompiledForward, "__call__", spy)
    return sizes


class Calls:
    """A backend that runs what it is given as it is, and counts."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, module: torch.fx.GraphModule, example_inputs: object) -> Callable[..., object]:
        def run(*args: object) -> object:
            self.count += 1
            return module.forward(*args)

        return run


def by_function(model: nn.Module, **options: object) -> nn.Module:
    compiled: nn.Module = torch.compile(model, **options)
    return compiled


def in_place(model: nn.Module, **options: object) -> nn.Module:
    model.compile(**options)
    return model


WAYS = pytest.mark.parametrize("way", [by_function, in_place])


@pytest.mark.parametrize("measures", [LIGHT, LIGHT[1:], [AGN("head")]], ids=["AGN", "no AGN", "named"])
def test_compiled_code_serves_where_nothing_but_the_last_layer_is_needed(measures, used, head, samples):
    expected = measure(head(), samples, measures)
    backend = Calls()
    model = torch.compile(head(), backend=backend)
    for _ in range(2):
        assert measure(model, samples, measures) == pytest.approx(expected, rel=1e-9, abs=0)
    assert used == [13, 13]
    assert backend.count == 2  # the backend that the user chose, also for what AGN needs


@WAYS
@pytest.mark.parametrize("measures", [LIGHT[1:], LIGHT], ids=["no AGN", "AGN"])
def test_a_model_may_be_compiled_in_place(way, measures, head, samples):
    expected = measure(head(), samples, measures)
    model = way(head(), backend="aot_eager")
    assert measure(model, samples, measures) == pytest.approx(expected, rel=1e-9, abs=0)


@WAYS
@pytest.mark.parametrize("each", [GN(), GN(7), GradSign("eval")], ids=["GN", "subset", "GradSign"])
def test_else_the_model_itself_does(way, each, used, head, samples):
    backend = Calls()
    expected = measure(head(), samples, [each])
    assert measure(way(head(), backend=backend), samples, [each]) == pytest.approx(expected, rel=1e-9, abs=0)
    assert (used, backend.count) == ([], 0)


@WAYS
def test_the_model_is_left_compiled(way, head, samples, state):
    backend = Calls()
    model = way(head(), backend=backend)
    model.eval()(samples[0])
    assert backend.count == 1
    before = state(model)
    measure(model, samples, [GN(), *LIGHT[1:]])
    measure(model, samples, LIGHT[1:])
    assert state(model) == before
    count = backend.count
    model(samples[0])
    assert backend.count == count + 1


def squared(logits: Tensor, targets: Tensor) -> Tensor:
    return logits.square().sum(dim=1)


class Doubled(nn.Module):
    def forward(self, logits: Tensor) -> Tensor:
        return 2 * logits


@pytest.mark.parametrize(
    ("after", "loss"),
    [((), squared), ((Doubled(),), cross_entropy)],
    ids=["another loss", "logits that are not the layer's output"],
)
def test_where_deltas_need_gradients_the_model_itself_serves(after, loss, used, head, samples):
    expected = measure(head(*after), samples, LIGHT, loss=loss)
    model = torch.compile(head(*after), backend="eager")
    assert measure(model, samples, LIGHT, loss=loss) == pytest.approx(expected, rel=1e-9, abs=0)
    assert used == []


def test_what_was_trained_since_is_measured(head, samples):
    plain = head()
    model = torch.compile(plain, backend="eager")
    for _ in range(2):
        assert measure(model, samples, LIGHT) == pytest.approx(
            measure(plain, samples, LIGHT), rel=1e-9, abs=0
        )
        with torch.no_grad():
            for parameter in plain.parameters():
                parameter.mul_(1.5)
        plain.train()(samples[0])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, of what it imports
@pytest.mark.skipif(shutil.which("g++") is None, reason="the default backend needs a C++ compiler")
def test_the_default_backend(used, head, samples):
    expected = measure(head(), samples, LIGHT)
    assert measure(torch.compile(head()), samples, LIGHT) == pytest.approx(expected, rel=1e-9)
    assert used == [13]
