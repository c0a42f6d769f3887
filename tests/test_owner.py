import os
import subprocess

import pytest

from hpo_gn import owner
from hpo_gn.owner import is_dead, new_owner


def of_process(process):
    machine, _, token = new_owner().split(":")
    return f"{machine}:{process}:{token}"


def test_names_differ_though_the_process_does_not():
    assert new_owner() != new_owner()


def test_this_process_is_alive():
    assert not is_dead(new_owner())
    assert not is_dead(f"{new_owner()}:3")


def test_a_process_that_is_gone_is_dead():
    process = subprocess.Popen(["true"])
    assert not is_dead(of_process(process.pid))  # a zombie at least, until it is waited for
    process.wait()
    assert is_dead(of_process(process.pid))
    assert is_dead(f"{of_process(process.pid)}:3")


@pytest.mark.parametrize("name", ["anna", "elsewhere:1234567:0a1b2c3d", "::", "a:b"])
def test_of_others_nothing_can_be_told(name):
    assert not is_dead(name)


def test_process_numbers_mean_nothing_in_another_container(monkeypatch):
    process = subprocess.Popen(["true"])
    process.wait()
    outside = of_process(process.pid)
    assert is_dead(outside)
    owner._machine.cache_clear()
    with monkeypatch.context() as patched:
        patched.setattr(os, "readlink", lambda _: "pid:[4026532999]")
        assert not is_dead(outside)
        assert new_owner().split(":")[0].endswith("/4026532999")
    owner._machine.cache_clear()
