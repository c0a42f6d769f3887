"""What runs the workers, from a command's options."""

from unittest.mock import patch

import pytest
import torch

from hpo_gn import Experiment, make_objective
from hpo_gn.engine import choose_engine
from hpo_gn.errors import ArgumentError
from hpo_gn.probe import Probe
from hpo_gn.space import paper_space

GPUS = [torch.device("cuda", 0), torch.device("cuda", 1)]
GIB = 2**30


@pytest.fixture
def experiment():
    return Experiment(data="digits", model="mlp", space=paper_space(), objective=make_objective("val-loss"))


def devices_of(engine):
    return [str(device) for device in engine.keywords["devices"]]


@pytest.mark.parametrize(
    ("options", "devices"),
    [
        ({"workers": 3, "device": "cpu"}, ["cpu"] * 3),
        ({"workers": 1, "device": "cpu"}, ["cpu"]),
    ],
)
def test_workers_on_the_cpu(experiment, options, devices):
    assert devices_of(choose_engine(experiment, **options)) == devices


@pytest.mark.parametrize(("cores", "threads", "count"), [(8, 1, 8), (64, 1, 8), (8, 3, 2), (2, 4, 1)])
def test_by_default_one_a_core_and_no_more_than_a_round(cores, threads, count):
    of = Experiment(
        data="digits", model="mlp", space=paper_space(), objective=make_objective("val-loss"), threads=threads
    )
    with patch("os.sched_getaffinity", lambda _: set(range(cores))):
        assert devices_of(choose_engine(of, device="cpu")) == ["cpu"] * count


@pytest.mark.parametrize(
    ("options", "devices"),
    [({}, ["cuda:0", "cuda:1"]), ({"workers": 3}, ["cuda:0", "cuda:1", "cuda:0"])],
)
def test_gpus_take_turns(experiment, options, devices):
    with patch("hpo_gn.engine.devices", lambda _: GPUS):
        assert devices_of(choose_engine(experiment, **options)) == devices


def test_as_many_workers_a_gpu_as_its_memory_lets(experiment):
    """Four were asked for and take 2 GiB each; the second GPU is half full."""
    probed = Probe(training_s=1, measuring_s=1, samples=10, full_samples=50, memory_bytes=2 * GIB)
    free = {GPUS[0]: 80 * GIB, GPUS[1]: 7 * GIB}
    with (
        patch("hpo_gn.engine.devices", lambda _: GPUS),
        patch("hpo_gn.engine.probe", lambda *_: probed),
        patch("hpo_gn.engine.free_bytes", free.get),
    ):
        engine = choose_engine(experiment, workers_per_gpu=4)
    assert devices_of(engine) == ["cuda:0"] * 4 + ["cuda:1"] * 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "workers must be 1 or more, got 0"),
        ({"workers_per_gpu": 0}, "workers_per_gpu must be 1 or more, got 0"),
        ({"workers_per_gpu": 2, "device": "cpu"}, "workers_per_gpu must be left out, where there is no GPU"),
        ({"gpus_per_trial": 0.5}, "gpus_per_trial must be left out, unless the trials run on Ray"),
        ({"ray": "auto", "workers": 2}, "workers must be left out, since Ray says how many trials run"),
        ({"ray": "auto", "workers_per_gpu": 2}, "workers_per_gpu must be left out, since Ray says"),
    ],
)
def test_options_that_contradict_each_other(experiment, options, message):
    with pytest.raises(ArgumentError, match=f"^{message}"):
        choose_engine(experiment, **options)


def test_workers_and_workers_per_gpu_are_one_or_the_other(experiment):
    with (
        patch("hpo_gn.engine.devices", lambda _: GPUS),
        pytest.raises(ArgumentError, match="workers_per_gpu must be left out, where workers is given"),
    ):
        choose_engine(experiment, workers=2, workers_per_gpu=2)
