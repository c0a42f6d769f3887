"""Which devices a name means, and how workers share them."""

import pytest
import torch

from hpo_gn import gpus
from hpo_gn.errors import ArgumentError

GIB = 2**30


@pytest.fixture
def machine(monkeypatch):
    """A machine with so many GPUs, of which no memory may be touched."""

    def make(count):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)

    return make


@pytest.mark.parametrize(
    ("name", "count", "found"),
    [
        ("auto", 0, ["cpu"]),
        ("auto", 2, ["cuda:0", "cuda:1"]),
        ("cuda", 3, ["cuda:0", "cuda:1", "cuda:2"]),
        ("cuda:1", 2, ["cuda:1"]),
        ("cpu", 2, ["cpu"]),
    ],
)
def test_devices_that_a_name_means(machine, name, count, found):
    machine(count)
    assert [str(device) for device in gpus.devices(name)] == found


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "gpu", "", "cuda:-1"])
def test_a_device_that_is_not_there_is_one_line(machine, name):
    machine(0)
    with pytest.raises(
        ArgumentError, match=f"^device must be auto, cpu, or a GPU that is there, got '{name}'$"
    ):
        gpus.devices(name)


@pytest.mark.parametrize(
    ("asked", "free", "each", "fit"),
    [
        (4, 80 * GIB, 4 * GIB, 4),
        (4, 10 * GIB, 3 * GIB, 3),
        (4, 10 * GIB, 4 * GIB, 2),
        (4, 9 * GIB, 3 * GIB, 2),  # all of it would take three
        (4, 1 * GIB, 3 * GIB, 1),  # the trial says that it lacks memory
        (1, 80 * GIB, GIB, 1),
        (4, 10 * GIB, 0, 4),  # nothing was measured
    ],
)
def test_workers_that_fit_leave_a_tenth_of_the_memory_free(asked, free, each, fit):
    assert gpus.workers_that_fit(asked, free, each) == fit


def test_workers_take_the_devices_in_turn():
    there = [torch.device("cuda", 0), torch.device("cuda", 1)]
    assert [device.index for device in gpus.assign(5, there)] == [0, 1, 0, 1, 0]
