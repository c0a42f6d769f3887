"""The probe: what it reports, and how what goes wrong in its process arrives."""

import multiprocessing
import os
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from ConfigSpace import CategoricalHyperparameter, ConfigurationSpace, Constant
from torch import nn

from hpo_gn import Experiment, make_objective
from hpo_gn import probe as module
from hpo_gn.errors import ArgumentError, DataError, HpoGnError
from hpo_gn.probe import probe
from hpo_gn.space import paper_space


def experiment(**changes):
    settings = {
        "data": "digits",
        "model": "mlp",
        "space": paper_space(),
        "objective": make_objective("val-loss"),
        "epochs": 4,
    }
    return Experiment(**(settings | changes))


def constant(name, value):
    space = ConfigurationSpace()
    space.add(Constant(name, value))
    return space


class Sleeper:
    """Sleeps instead of training, longer in the first epoch, and writes down how long; cannot be resumed."""

    def __init__(self, config, splits, *, epochs, seed):
        self.model = nn.Sequential(nn.Flatten(), nn.Linear(64, splits.classes))
        self.log, self.epoch = Path(config["log"]), 0

    def run_epoch(self):
        began = time.perf_counter()
        self.epoch += 1
        time.sleep(1.0 if self.epoch == 1 else 0.1)
        with self.log.open("a") as file:
            file.write(f"{time.perf_counter() - began}\n")


class Diverging(Sleeper):
    def run_epoch(self):
        super().run_epoch()
        with torch.no_grad():
            self.model[1].weight.fill_(float("nan"))


class Failing(Sleeper):
    def run_epoch(self):
        raise ValueError("no\nsuch rate")


class Unbuildable:
    def __init__(self, config, splits, *, epochs, seed):
        raise KeyError("depth")


class Exiting(Sleeper):
    def run_epoch(self):
        raise SystemExit(3)


class Dying(Sleeper):
    def run_epoch(self):
        os.abort()


class Choosy(Sleeper):
    def run_epoch(self):
        raise ArgumentError("rate", "above 1", 0.5)


@pytest.fixture
def trained(monkeypatch, tmp_path):
    """An experiment with a training of this file, which another process imports by the file's name."""
    monkeypatch.syspath_prepend(Path(__file__).parent)

    def make(name, **changes):
        space = constant("log", str(tmp_path / "log"))
        return experiment(model=None, training=f"test_probe:{name}", space=space, **changes)

    return make


def test_reports_the_second_epoch_and_both_training_sets(trained, tmp_path):
    found = probe(trained("Sleeper"), "cpu")
    first, second = map(float, (tmp_path / "log").read_text().split())
    assert second <= found.training_s
    assert abs(found.training_s - second) < abs(found.training_s - first)
    assert found.measuring_s > 0
    assert (found.samples, found.full_samples) == (287, 1437)
    assert not found.resumable
    assert found.memory_bytes is None


def test_a_model_by_name_can_be_resumed_and_leaves_nothing_behind(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = probe(experiment(fraction=0.4), "cpu")
    assert found.resumable
    assert found.samples == 574
    assert multiprocessing.active_children() == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("objective", ["val-loss", "agn-train"])
def test_initial_settings_that_diverge_are_no_error(trained, tmp_path, objective):
    found = probe(trained("Diverging", objective=make_objective(objective)), "cpu")
    assert found.training_s >= float((tmp_path / "log").read_text().split()[-1])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Failing", "the initial settings failed: ValueError: no such rate"),
        ("Unbuildable", "the initial settings failed: KeyError: 'depth'"),
        ("Exiting", "the initial settings failed: SystemExit: 3"),
        ("Dying", "the probing process died with exit code -6"),
        ("Choosy", "the initial settings failed: ArgumentError: rate must be above 1, got 0.5"),
    ],
)
def test_what_fails_in_the_process_arrives_as_one_line(trained, name, message):
    with pytest.raises(HpoGnError) as caught:
        probe(trained(name), "cpu")
    assert str(caught.value) == message


def test_an_error_of_ours_arrives_as_it_is(tmp_path):
    missing = str(tmp_path / "missing.npz")
    with pytest.raises(DataError) as direct:
        experiment(data=missing).splits("search", torch.device("cpu"))
    with pytest.raises(HpoGnError) as caught:
        probe(experiment(data=missing), "cpu")
    assert str(caught.value) == str(direct.value)


def test_a_model_that_cannot_travel_is_one_line():
    with pytest.raises(HpoGnError, match=r"^the experiment cannot be sent to another process: ") as caught:
        probe(experiment(model=lambda shape, classes: nn.Linear(1, 1)), "cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("before", "during", "reserved", "memory"),
    [
        (80, 60, 15, 20),  # what CUDA takes for itself is not among the reserved bytes
        (80, 75, 15, 15),  # somebody else has gone meanwhile
    ],
)
def test_memory_is_what_the_gpu_lost_while_the_process_lived(monkeypatch, before, during, reserved, memory):
    living = []

    @contextmanager
    def elsewhere(function, *arguments):
        if function is module._look:
            yield {"free_bytes": during if living else before}
            return
        living.append(function)
        times = {"training_s": 1.0, "measuring_s": 0.5, "samples": 10, "full_samples": 50, "resumable": True}
        yield times | {"reserved_bytes": reserved}
        living.clear()

    monkeypatch.setattr(module, "_elsewhere", elsewhere)
    assert probe(experiment(), "cuda:0").memory_bytes == memory


def sizes_space(*hyperparameters):
    space = paper_space()
    kept = [each for each in space.values() if each.name != "batch_size"]
    changed = ConfigurationSpace()
    changed.add(*kept, *hyperparameters)
    return changed


@pytest.mark.parametrize(
    ("space", "largest"),
    [
        (paper_space(), 1000),
        (sizes_space(CategoricalHyperparameter("batch_size", [64, 512, 128])), 512),
        (sizes_space(Constant("batch_size", 96)), 96),
        (constant("rate", 0.1), None),
    ],
    ids=["range", "choices", "constant", "none"],
)
def test_memory_is_measured_at_the_largest_batch_size(space, largest):
    made = experiment(model=None, training="test_probe:Sleeper", space=space)
    assert module._largest(made).get("batch_size") == largest
    assert {**module._largest(made), "batch_size": 0} == {**made.initial, "batch_size": 0}
