"""What is measured of a training: all that any objective may need later, as far as the model has it."""

import math
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import nn

from hpo_gn import Experiment, make_objective
from hpo_gn.measures import AGN, DeadUnits, Majority, MeanLoss, OnlineAGN, Spectrum, measure
from hpo_gn.recorded_measures import RECORDED, RecordedSpectrum, measures_of
from hpo_gn.space import paper_space

LAYERS = {"agn", "val_dead_units", "spectrum:0", "spectrum_width:0"}
ALWAYS = {"train_loss", "train_accuracy", "train_entropy", "train_majority", "val_loss", "val_accuracy"}


@dataclass
class Training:
    model: nn.Module

    def run_epoch(self) -> None:
        raise NotImplementedError


@pytest.fixture(scope="module")
def splits():
    experiment = Experiment("digits", paper_space(), make_objective("val-loss"), model="mlp")
    return experiment.splits("search", torch.device("cpu"))


class Convolutional(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Conv2d(1, 10, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def mlp() -> nn.Sequential:
    flat = nn.Flatten()
    return nn.Sequential(nn.Sequential(flat, nn.Linear(64, 4)), nn.ReLU(), nn.Linear(4, 10))


def chosen(model: nn.Module, splits: Any, objective: str = "val-loss", **settings: Any) -> list[Any]:
    return measures_of(make_objective(objective, **settings), (), Training(model), splits)


@pytest.mark.parametrize(("model", "has"), [(mlp, True), (Convolutional, False)])
def test_every_trained_run_leaves_what_any_objective_needs(model, has, splits):
    model = model()
    row = measure(model, {"train": splits.train, "validation": splits.validation}, chosen(model, splits))
    layers = {name.replace("spectrum:0.1", "spectrum:0").replace("width:0.1", "width:0") for name in row}
    assert layers == (ALWAYS | LAYERS if has else ALWAYS)


def test_all_are_read_off_a_model_that_has_the_layers(splits):
    assert chosen(mlp(), splits)[1:] == [each for each in RECORDED if each != MeanLoss("validation")]


def test_an_objective_that_samples_makes_the_training_split_cheap(splits):
    for each in chosen(mlp(), splits, "agn-val", agn="sampled", gated=True):
        assert getattr(each, "samples", None) == (1000 if each.split == "train" else None), each
    kinds = [(type(each), each.split) for each in chosen(mlp(), splits, "agn-val", agn="sampled", gated=True)]
    assert len(kinds) == len(set(kinds)) == len(RECORDED), "one is there twice, or not at all"


def test_agn_in_training_saves_the_other_one(splits):
    kinds = {type(each) for each in chosen(mlp(), splits, "agn-val", agn="online")}
    assert OnlineAGN in kinds
    assert AGN not in kinds


@dataclass(frozen=True)
class OfOneLayer:
    """An objective with a spectrum of its own, in the columns that the recorded one has."""

    @property
    def measures(self) -> tuple[Any, ...]:
        return (Spectrum(layers=("0.1",)), Spectrum(layers=("2",), split="train"))

    def __call__(self, history: Any) -> float:
        return float(history.last("spectrum:0.1"))


def test_a_recorded_measure_does_not_overwrite_one_that_was_asked_for(splits):
    model = mlp()
    found = measures_of(OfOneLayer(), (), Training(model), splits)
    assert [each for each in found if isinstance(each, Spectrum)] == list(OfOneLayer().measures)


def test_a_recorded_spectrum_does_not_end_a_trial_that_diverged(splits):
    model = mlp()
    data = {"train": splits.train, "validation": splits.validation}
    columns = measure(model, data, [RecordedSpectrum()])
    assert columns == measure(model, data, [Spectrum()])
    with torch.no_grad():
        model[2].weight.fill_(1.0)
        model[0][1].bias.fill_(torch.nan)
    row = measure(model, data, chosen(model, splits))
    assert {name for name in columns if math.isnan(row[name])} == columns.keys()
    assert row["train_majority"] > 0


def test_signals_that_cannot_be_read_are_left_out(splits):
    signals = (Spectrum(), Majority("validation"))
    found = measures_of(make_objective("val-loss"), signals, Training(Convolutional()), splits)
    assert found[:2] == [MeanLoss("validation"), Majority("validation")]
    assert not any(isinstance(each, Spectrum) for each in found)


def test_dead_units_and_spectra_are_of_the_validation_split():
    assert {each.split for each in RECORDED if isinstance(each, DeadUnits | Spectrum)} == {"validation"}
    assert replace(Majority("train"), samples=9) == Majority("train", 9)
