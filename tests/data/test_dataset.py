from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from hpo_gn.data.dataset import DataSet
from hpo_gn.errors import ArgumentError, DataError

IMAGES = torch.zeros(4, 1, 2, 2, dtype=torch.uint8)
LABELS = torch.tensor([0, 1, 2, 1])


def reading(inputs: Tensor, targets: Tensor) -> Callable[[str], tuple[Tensor, Tensor]]:
    return lambda split: (inputs, targets)


def test_a_good_split_comes_back_as_it_was_read():
    inputs, targets = DataSet("mine", 3, reading(IMAGES, LABELS)).read("train")
    assert inputs is IMAGES
    assert targets is LABELS


@pytest.mark.parametrize(
    ("inputs", "targets", "message"),
    [
        (
            IMAGES.double(),
            LABELS,
            r"inputs must be uint8 or float32 \[N, C, ...\], got float64 \[4, 1, 2, 2\]",
        ),
        (IMAGES[:, 0, 0, 0], LABELS, r"inputs must be uint8 or float32 \[N, C, ...\], got uint8 \[4\]"),
        (IMAGES, LABELS.int(), r"targets must be int64 \[N\], got int32 \[4\]"),
        (IMAGES, LABELS[:, None], r"targets must be int64 \[N\], got int64 \[4, 1\]"),
        (IMAGES[:3], LABELS, "3 inputs but 4 targets"),
        (IMAGES[:0], LABELS[:0], "no samples"),
        (IMAGES, LABELS + 1, "labels must be 0 to 2, got 3"),
        (IMAGES, LABELS - 1, "labels must be 0 to 2, got -1"),
        (IMAGES.float() / 0, LABELS, "inputs must be finite, got NaN or infinity"),
    ],
)
def test_a_bad_split_is_refused_in_one_line(inputs, targets, message):
    with pytest.raises(DataError, match=f"^mine, test split: {message}$"):
        DataSet("mine", 3, reading(inputs, targets)).read("test")


def test_nothing_is_read_before_it_is_asked_for():
    asked = []

    def read(split: str) -> tuple[Tensor, Tensor]:
        asked.append(split)
        return IMAGES, LABELS

    data = DataSet("mine", 3, read)
    assert asked == []
    data.read("train")
    assert asked == ["train"]


def test_other_splits_than_the_official_ones_are_refused():
    with pytest.raises(ArgumentError, match="split must be 'train' or 'test', got 'validation'"):
        DataSet("mine", 3, reading(IMAGES, LABELS)).read("validation")  # type: ignore[arg-type]


def test_one_class_is_not_a_classification():
    with pytest.raises(ArgumentError, match="classes must be an integer of at least 2, got 1"):
        DataSet("mine", 1, reading(IMAGES, LABELS))
