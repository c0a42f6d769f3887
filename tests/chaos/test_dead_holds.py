"""What the dead held comes back when their leases are over."""

import pytest

from tests.chaos import dead_holds
from tests.chaos.processes import on_stage


@pytest.mark.slow
def test_it_holds(databases):
    findings = on_stage(dead_holds.scenario, databases, dead_holds.SHORT)
    assert findings.verdict == "holds", findings
