"""What the tests of pruners share."""

import pytest

from hpo_gn.pruning import careful
from tests.give_up_runs import SIGNS


@pytest.fixture(autouse=True)
def nothing_reported(monkeypatch):
    monkeypatch.setattr(careful, "_reported", set())


@pytest.fixture(params=SIGNS)
def direction(request: pytest.FixtureRequest) -> str:
    return str(request.param)
