"""Who was stopped past a lease is refused."""

import pytest

from tests.chaos import stops
from tests.chaos.processes import on_stage


@pytest.mark.slow
def test_it_holds(databases):
    findings = on_stage(stops.scenario, databases, stops.SHORT)
    assert findings.verdict == "holds", findings
