import math

import pytest

from hpo_gn.errors import ArgumentError, StudyError
from hpo_gn.history import History
from hpo_gn.measures import Accuracy, Majority, PredictionEntropy
from hpo_gn.objectives._fit_gate import FitGate

FITTED = {"train_accuracy": 0.9, "train_majority": 0.25, "train_entropy": 0.1, "val_dead_units": 0.3}
GATE = FitGate(accuracy=0.5, entropy=0.25, dead_units=0.75)


@pytest.mark.parametrize(
    ("columns", "passes"),
    [
        ({}, True),
        ({"train_accuracy": 0.625}, True),  # (0.625 − 0.25) / (1 − 0.25) is the level
        ({"train_accuracy": 0.62}, False),
        ({"train_majority": 0.81}, False),  # the same accuracy is no better than chance now
        ({"train_accuracy": 1.0, "train_majority": 1.0}, True),  # of one class there is nothing to learn
        ({"train_entropy": 0.25}, True),
        ({"train_entropy": 0.26}, False),
        ({"val_dead_units": 0.75}, True),
        ({"val_dead_units": 0.76}, False),
        ({"train_accuracy": math.nan}, False),
        ({"train_entropy": math.nan}, False),
        ({"val_dead_units": math.nan}, False),
    ],
)
def test_each_level_must_be_kept(columns, passes):
    assert GATE.passes(History([FITTED | columns])) is passes


def test_the_last_epoch_counts():
    unfitted = FITTED | {"train_accuracy": 0.25}
    assert GATE.passes(History([unfitted, FITTED]))
    assert not GATE.passes(History([FITTED, unfitted]))


def test_a_model_without_hidden_units_has_no_dead_ones():
    columns = {name: value for name, value in FITTED.items() if name != "val_dead_units"}
    assert GATE.passes(History([columns]))


@pytest.mark.parametrize("name", ["train_accuracy", "train_majority", "train_entropy"])
def test_a_missing_column_is_named(name):
    columns = {other: value for other, value in FITTED.items() if other != name}
    with pytest.raises(StudyError, match=f"has no '{name}'"):
        GATE.passes(History([columns]))


def test_it_reads_the_samples_that_agn_is_of():
    expected = Accuracy("train", 50), PredictionEntropy("train", 50), Majority("train", 50)
    assert GATE.measures(50) == expected


@pytest.mark.parametrize("name", ["accuracy", "entropy", "dead_units"])
@pytest.mark.parametrize("level", [-0.1, 1.1, math.nan])
def test_a_level_out_of_range_is_refused(name, level):
    with pytest.raises(ArgumentError) as raised:
        FitGate(**{name: level})
    assert str(raised.value) == f"{name} must be from 0 to 1, got {level!r}"
