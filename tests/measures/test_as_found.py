"""Every measure leaves the model and the process as it found them."""

import random
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hpo_gn.errors import NonFiniteError
from hpo_gn.measures import AGN, GN, GSNR, Accuracy, Batch, MeanLoss, SameSign, cross_entropy, measure
from hpo_gn.measures.initialization import GradSign

WHOLE = {
    "AGN": AGN(),
    "loss": MeanLoss("train"),
    "accuracy": Accuracy("train"),
    "GN": GN(),
    "GSNR": GSNR(),
    "same sign": SameSign(),
    "GradSign": GradSign(),
    "GradSign in evaluation mode": GradSign("eval"),
}
MEASURES = WHOLE | {"AGN of a subset": AGN(samples=7), "GN of a subset": GN(7)}
EVERY = pytest.mark.parametrize("each", MEASURES.values(), ids=MEASURES)
EVERY_WHOLE = pytest.mark.parametrize("each", WHOLE.values(), ids=WHOLE)
PROPAGATING = (GN, GSNR, SameSign, GradSign)


class Drawing(nn.Module):
    """Uses up every global random state, and counts its calls in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, inputs: Tensor) -> Tensor:
        torch.rand(5)
        np.random.rand(5)
        random.random()
        self.calls += 1
        return inputs


class Odd(nn.Module):
    """Layers of every treatment: with a form, inside a module with a parameter of its own, and shared."""

    def __init__(self) -> None:
        super().__init__()
        norm = nn.InstanceNorm1d(4, track_running_stats=True)
        self.body = nn.Sequential(nn.Conv1d(1, 4, 2), nn.BatchNorm1d(4), nn.ReLU(inplace=True), norm)
        self.shared = nn.Linear(3, 3)
        self.activation, self.drawing = nn.PReLU(), Drawing()
        self.dropout, self.head = nn.Dropout(0.3), nn.Linear(12, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        features = self.shared(self.shared(self.body(inputs[:, None])))
        logits: Tensor = self.head(self.dropout(self.drawing(self.activation(features)).flatten(1)))
        return logits


class Outside(Odd):
    """Likewise, with a weight used outside of its layer, so that single samples run again."""

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = super().forward(inputs) @ self.shared.weight
        return logits


def in_training(kind: type[Odd], samples: tuple[Tensor, Tensor]) -> nn.Module:
    """A model in the middle of its training: gradients, a frozen layer, a frozen norm, a hook."""
    torch.manual_seed(0)
    model = kind().double()
    cross_entropy(model(samples[0]), samples[1]).mean().backward()
    model.body[1].eval()
    model.body[0].weight.requires_grad_(False)
    model.head.register_forward_hook(lambda module, args, output: None)
    return model


@pytest.fixture
def model(samples) -> nn.Module:
    return in_training(Odd, samples)


@EVERY
@pytest.mark.parametrize("kind", [Odd, Outside])
@pytest.mark.parametrize("recording", [True, False], ids=["gradients on", "gradients off"])
def test_all_is_left_as_it_was_found(recording, kind, each, samples, state):
    model = in_training(kind, samples)
    batches = list(zip(samples[0].split(5), samples[1].split(5), strict=True))
    with torch.set_grad_enabled(recording):
        before = state(model)
        measure(model, batches, [each])
        assert state(model) == before


class FailsTheSecondTime(nn.Module):
    """The identity, which raises when it is called again."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[int] = []

    def forward(self, inputs: Tensor) -> Tensor:
        self.calls.append(len(inputs))
        if len(self.calls) == 2:
            raise FloatingPointError("the model's own")
        return inputs


@EVERY_WHOLE
def test_also_when_the_model_raises(each, model, samples, state):
    model.dropout = FailsTheSecondTime()
    before = state(model)
    with pytest.raises(FloatingPointError, match="the model's own"):
        measure(model, list(zip(samples[0].split(5), samples[1].split(5), strict=True)), [each])
    assert state(model) == before


class RaisesInBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, inputs: Tensor) -> Tensor:
        return inputs.clone()

    @staticmethod
    def backward(ctx, delta: Tensor) -> Tensor:
        raise FloatingPointError("in the backward pass")


class BreaksBackward(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return RaisesInBackward.apply(inputs)


@EVERY_WHOLE
def test_also_when_the_backward_pass_raises(each, model, samples, state):
    model.dropout = BreaksBackward()
    before = state(model)
    with pytest.raises(FloatingPointError) if isinstance(each, PROPAGATING) else nullcontext():
        measure(model, samples, [each])
    assert state(model) == before


class Raising:
    """A measure that raises in one of its methods."""

    split = "train"

    def __init__(self, where: str) -> None:
        self.where = where

    def _reach(self, where: str) -> None:
        if self.where == where:
            raise FloatingPointError("the measure's own")

    def visit(self, gradient: object) -> None:
        self._reach("visit")

    def update(self, batch: Batch) -> None:
        self._reach("update")

    def compute(self) -> dict[str, float]:
        self._reach("compute")
        return {}


@pytest.mark.parametrize("where", ["visit", "update", "compute"])
def test_also_when_a_measure_raises(where, model, samples, state):
    measures = [each for each in WHOLE.values() if not isinstance(each, GradSign)]
    before = state(model)
    with pytest.raises(FloatingPointError, match="the measure's own"):
        measure(model, samples, [*measures, Raising(where)])
    assert state(model) == before
    # And nothing of the pass that failed is left in the measures.
    fresh = [AGN(), MeanLoss("train"), Accuracy("train"), GN(), GSNR(), SameSign()]
    assert measure(model, samples, measures) == measure(model, samples, fresh)


@EVERY_WHOLE
def test_also_when_the_model_diverged(each, model, samples, state):
    nn.init.constant_(model.head.weight, torch.nan)
    before = state(model)
    with pytest.raises(NonFiniteError) if isinstance(each, PROPAGATING[1:]) else nullcontext():
        measure(model, samples, [each])
    after = state(model)
    for one in (before, after):
        one["values"] = repr(one["values"])  # NaN differs from itself
    assert after == before
