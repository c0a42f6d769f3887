"""Random subsets of a split, and what measures say of the whole from them."""

import math
import statistics
from collections import Counter

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from hpo_gn.errors import ArgumentError
from hpo_gn.measures import AGN, GN, GSNR, Accuracy, MeanLoss, SameSign, measure
from hpo_gn.measures.initialization import GradSign
from hpo_gn.measures.subset import draw_subset

COLUMNS = {
    "agn": lambda *subset: AGN(None, *subset),
    "gn": GN,
    "train_loss": lambda *subset: MeanLoss("train", *subset),
    "train_accuracy": lambda *subset: Accuracy("train", *subset),
}
ESTIMATES = pytest.mark.parametrize(("column", "kind"), COLUMNS.items(), ids=COLUMNS)
KINDS = [
    *COLUMNS.values(),
    lambda *subset: GSNR(False, *subset),
    SameSign,
    lambda *subset: GradSign("eval", *subset),
]
EVERY = pytest.mark.parametrize("kind", KINDS, ids=[*COLUMNS, "gsnr", "same_sign", "grad_sign"])


def numbered(count: int, size: int) -> list[tuple[Tensor, Tensor]]:
    """A split whose inputs are their own places, and the targets their negatives."""
    places = torch.arange(count)
    return list(zip(places.split(size), (-places).split(size), strict=True))


def places(count: int, size: int, samples: int, seed: int) -> list[int]:
    ((inputs, targets),), population = draw_subset(numbered(count, size), samples, seed)
    assert population == count
    assert torch.equal(inputs, -targets)
    return inputs.tolist()


@pytest.mark.parametrize("samples", [1, 5, 19])
def test_it_has_different_samples_in_the_splits_order(samples):
    drawn = places(20, 4, samples, 0)
    assert len(drawn) == samples
    assert drawn == sorted(set(drawn))


@pytest.mark.parametrize("size", [1, 3, 7, 20])
def test_it_is_the_same_however_the_split_comes_in_batches(size):
    assert places(20, size, 6, 3) == places(20, 20, 6, 3)
    assert places(20, size, 6, 4) != places(20, 20, 6, 3)


@pytest.mark.parametrize("samples", [20, 21, 1000])
def test_a_smaller_split_is_taken_whole(samples):
    assert places(20, 6, samples, 0) == list(range(20))


class ByIndex:
    """A split whose samples can be had by index, which notes what was read."""

    def __init__(self, count: int) -> None:
        self.places, self.read = torch.arange(count), 0

    def __len__(self) -> int:
        return len(self.places)

    def batch(self, index: Tensor | slice) -> tuple[Tensor, Tensor]:
        inputs = self.places[index]
        self.read += len(inputs)
        return inputs, -inputs


@pytest.mark.parametrize("samples", [1, 6, 20, 30])
def test_of_samples_that_can_be_had_by_index_it_reads_no_others(samples):
    split = ByIndex(20)
    ((inputs, targets),), population = draw_subset(split, samples, 3)
    assert inputs.tolist() == places(20, 7, samples, 3)
    assert torch.equal(inputs, -targets)
    assert (split.read, population) == (min(samples, 20), 20)


def test_each_subset_of_a_size_is_equally_likely():
    drawn = Counter(tuple(places(5, 2, 2, seed)) for seed in range(1000))
    assert len(drawn) == math.comb(5, 2)
    expected = 1000 / len(drawn)
    assert sum((count - expected) ** 2 / expected for count in drawn.values()) < 27.9  # χ² of 9: one in 1,000


def test_nothing_is_kept_of_the_other_samples():
    """The memory is the subset's and one batch's."""
    ((inputs, targets),), _ = draw_subset(numbered(10_000, 100), 5, 0)
    for tensor in (inputs, targets):
        assert tensor.untyped_storage().nbytes() == 5 * 8


def test_inputs_may_come_by_name():
    batches = [
        {"input_ids": torch.arange(12).view(6, 2), "labels": torch.arange(6)},
        {"input_ids": torch.arange(12, 20).view(4, 2), "labels": torch.arange(6, 10)},
    ]
    (((inputs, targets),), population) = draw_subset(batches, 4, 0)
    assert population == 10
    assert inputs["input_ids"][:, 0].tolist() == (2 * targets).tolist()
    assert len(targets) == 4


@pytest.mark.parametrize("batches", [[], [(torch.empty(0, 3), torch.empty(0))], ByIndex(0)])
def test_of_nothing_there_is_nothing(batches):
    drawn, population = draw_subset(batches, 3, 0)
    assert population == 0
    assert sum(len(targets) for _, targets in drawn) == 0


@pytest.fixture
def split(head) -> tuple[Tensor, Tensor]:
    """60 samples of which none stands out, on most of which the model is right."""
    generator = torch.Generator().manual_seed(0)
    inputs = normalize(torch.randn(60, 4, generator=generator).double())
    targets = head().eval()(inputs).argmax(dim=1)
    targets[::3] = 0
    return inputs, targets


@ESTIMATES
def test_an_estimate_is_unbiased_and_knows_its_error(column, kind, head, split):
    model = head()
    whole = measure(model, split, [kind()])[column]
    rows = [measure(model, split, [kind(30, seed)]) for seed in range(150)]
    found = [row[column] for row in rows]
    scores = [(row[column] - whole) / row[f"{column}_standard_error"] for row in rows]
    assert abs(statistics.fmean(found) - whole) < 4 * statistics.stdev(found) / math.sqrt(len(found))
    assert 0.6 < statistics.pvariance(scores, 0) < 1.6


@ESTIMATES
def test_the_standard_error_is_that_of_a_mean_drawn_without_replacement(column, kind, head, split):
    row = measure(head(), split, [kind(20, 7)])
    assert list(row) == [column, f"{column}_standard_error"]
    (batch,), _ = draw_subset([split], 20, 7)
    values = [
        measure(head(), (batch[0][index : index + 1], batch[1][index : index + 1]), [kind()])[column]
        for index in range(20)
    ]
    assert row[column] == pytest.approx(statistics.fmean(values), rel=1e-9)
    expected = statistics.stdev(values) / math.sqrt(20) * math.sqrt(1 - 20 / 60)
    assert row[f"{column}_standard_error"] == pytest.approx(expected, rel=1e-9)


@ESTIMATES
@pytest.mark.parametrize("samples", [60, 61])
def test_an_estimate_from_all_samples_is_exact(samples, column, kind, head, split):
    expected = measure(head(), split, [kind()])
    row = measure(head(), split, [kind(samples)])
    assert row == {column: pytest.approx(expected[column], rel=1e-12), f"{column}_standard_error": 0}


@ESTIMATES
def test_one_sample_of_more_has_no_standard_error(column, kind, head, split):
    assert math.isnan(measure(head(), split, [kind(1)])[f"{column}_standard_error"])
    one = split[0][:1], split[1][:1]
    assert measure(head(), one, [kind(1)])[f"{column}_standard_error"] == 0


@EVERY
def test_the_same_seed_draws_the_same_subset(kind, head, split):
    model = head()
    inputs, targets = split
    first, second, other = (
        measure(
            model,
            {"train": list(zip(inputs.split(size), targets.split(size), strict=True))},
            [kind(10, seed)],
        )
        for size, seed in ((60, 5), (7, 5), (60, 6))
    )
    assert first == pytest.approx(second, rel=1e-12, nan_ok=True)
    assert first != pytest.approx(other, rel=1e-6, nan_ok=True)


def test_measures_of_one_subset_share_its_pass_and_others_have_their_own(head, split):
    measures = [
        AGN(None, 20),
        GN(20),
        MeanLoss("train", 20),
        MeanLoss("train"),
        GN(20, seed=1),
        Accuracy("train", 30),
    ]
    model = head()
    calls = []
    model.register_forward_pre_hook(lambda module, args: calls.append(len(args[0])))
    together = measure(model, split, measures)
    assert sum(calls) == 20 + 60 + 20 + 30
    for each in (measures[0], measures[3], measures[5]):
        alone = measure(head(), split, [each])
        assert {name: together[name] for name in alone} == pytest.approx(alone, rel=1e-12, abs=0)


@EVERY
@pytest.mark.parametrize("samples", [0, -3, 2.5, "10"])
def test_a_number_of_samples_is_a_positive_integer(samples, kind, head, split):
    with pytest.raises(ArgumentError) as error:
        measure(head(), split, [kind(samples)])
    assert str(error.value) == f"samples must be a positive integer, got {samples!r}"
