"""What `measure` says that its measures cost."""

import time

import pytest
import torch
from torch import Tensor, nn

from hpo_gn.measures import (
    AGN,
    GN,
    GSNR,
    Accuracy,
    Batch,
    Cost,
    MeanLoss,
    Row,
    SameSign,
    cross_entropy,
    measure,
)
from hpo_gn.measures.initialization import GradSign


def passes(row: Row) -> dict[str, tuple[float, float]]:
    """Forward and backward passes by account."""
    assert all(cost.seconds > 0 for cost in row.costs.values())
    return {name: (cost.forward, cost.backward) for name, cost in row.costs.items()}


def squared(logits: Tensor, targets: Tensor) -> Tensor:
    return logits.square().sum(dim=1)


FREE = (0, 0)
WALKS = {
    "a loss": ([MeanLoss("train")], {"train": (1, 0), "train_loss": FREE}),
    "AGN and a loss": (
        [AGN(), MeanLoss("train")],
        {"train": (1, 0), "agn": FREE, "train_loss": FREE},
    ),
    "GN": ([GN()], {"train": (1, 1), "gn": FREE}),
    "all that share a pass": (
        [AGN(), GN(), GSNR(), SameSign(), MeanLoss("train"), Accuracy("train")],
        {
            "train": (1, 1),
            "agn": FREE,
            "gn": FREE,
            "gsnr": FREE,
            "same_sign": FREE,
            "train_loss": FREE,
            "train_accuracy": FREE,
        },
    ),
    "GradSign": ([GradSign("eval")], {"train": (1, 0), "grad_sign": (1, 1)}),
    "GradSign and GN of one subset": (
        [GradSign("eval"), GN(64)],
        {"train": (1, 1), "grad_sign": (1, 1), "gn": FREE},
    ),
    "a subset beside the whole": (
        [GN(5), MeanLoss("train")],
        {"train": (2, 1), "gn": FREE, "train_loss": FREE},
    ),
    "two splits": (
        [AGN(), MeanLoss("validation")],
        {"train": (1, 0), "agn": FREE, "validation": (1, 0), "val_loss": FREE},
    ),
    "nothing": ([], {}),
}


@pytest.mark.parametrize("size", [13, 4])
@pytest.mark.parametrize(("measures", "expected"), WALKS.values(), ids=WALKS)
def test_each_split_and_each_measure_has_its_passes(measures, expected, size, head, samples):
    batches = list(zip(samples[0].split(size), samples[1].split(size), strict=True))
    row = measure(head(), batches, measures)
    assert passes(row) == {name: pytest.approx(each) for name, each in expected.items()}


def test_agn_of_another_loss_needs_no_pass_through_the_model(head, samples):
    row = measure(head(), samples, [AGN()], loss=squared)
    assert passes(row) == {"train": (1, 0), "agn": FREE}


def test_a_model_that_does_more_than_once_what_is_asked_pays_for_it(head, samples):
    """Passes through the model are counted wherever they come from."""

    class Thrice:
        split = "train"
        own_passes = True

        def update(self, batch: Batch) -> None:
            for _ in range(2):
                batch.model(batch.inputs)
            with torch.enable_grad():
                cross_entropy(batch.model(batch.inputs), batch.targets).sum().backward()
            batch.model.zero_grad()

        def compute(self) -> dict[str, float]:
            return {"thrice": 1.0}

    row = measure(head(), samples, [Thrice()])
    assert passes(row) == {"train": (1, 0), "thrice": (3, 1)}


class Slow:
    """Takes its time, a third of it at the end."""

    split = "train"

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def update(self, batch: Batch) -> None:
        time.sleep(self.seconds / 3)

    def compute(self) -> dict[str, float]:
        time.sleep(self.seconds / 3)
        return {f"slow {self.seconds}": 0.0, "another column": 0.0}


def test_each_pays_for_its_own_time(head, samples):
    batches = list(zip(samples[0].split(7), samples[1].split(7), strict=True))
    start = time.perf_counter()
    row = measure(head(), batches, [Slow(0.03), Slow(0.06)])
    total = time.perf_counter() - start
    assert list(row.costs) == ["train", "slow 0.03", "slow 0.06"]
    assert row.costs["slow 0.03"].seconds >= 0.03
    assert row.costs["slow 0.06"].seconds >= 0.06
    assert sum(cost.seconds for cost in row.costs.values()) <= total


def test_what_was_walked_twice_is_added_up():
    row = Row({"gn": 1.0})
    assert (row, row.costs) == ({"gn": 1.0}, {})
    row.add_cost("train", Cost(1.0, 1.0, 0.0))
    row.add_cost("train", Cost(0.5, 0.25, 1.0))
    assert row.costs == {"train": Cost(1.5, 1.25, 1.0)}


def test_a_measure_without_columns_goes_by_its_kind(head, samples):
    class Silent(Slow):
        def compute(self) -> dict[str, float]:
            return {}

    assert list(measure(head(), samples, [Silent(0.0)]).costs) == ["train", "Silent"]


def test_models_may_give_objects_with_logits(head, samples):
    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = head()

        def forward(self, inputs: Tensor) -> Row:
            output = Row({})
            output.logits = self.model(inputs)
            return output

    assert passes(measure(Named(), samples, [GN()])) == {"train": (1, 1), "gn": FREE}
