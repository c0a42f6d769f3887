"""An address that leads to no cluster is a line, at once; Ray itself would try for minutes."""

import subprocess
import sys

import pytest

from hpo_gn.errors import ArgumentError, HpoGnError
from hpo_gn.ray_cluster import connected


@pytest.mark.parametrize(
    "address", ["", "local", "head", ":6379", "head:port", "head:70000", "ray://head:10001"]
)
def test_what_is_no_address_is_refused(address):
    message = f"^ray must be auto or the host:port of a cluster's head, got '{address}'$"
    with pytest.raises(ArgumentError, match=message), connected(address):
        pass


def test_an_address_that_nobody_listens_at_is_refused():
    message = "^cannot join the Ray cluster at 127.0.0.1:1: .*Connection refused$"
    with pytest.raises(HpoGnError, match=message), connected("127.0.0.1:1"):
        pass


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    message = r"^--ray needs the extra ray: pip install 'hpo_gn\[ray\]'$"
    with pytest.raises(HpoGnError, match=message), connected("auto"):
        pass


def test_ray_is_imported_by_those_who_use_it_only():
    program = "import sys, hpo_gn.cli, hpo_gn.ray_crew; sys.exit('ray' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
