"""Whatever is killed at whatever moment: nothing is overspent, forgotten or locked for ever."""

import pytest

from tests.chaos import kills
from tests.chaos.processes import on_stage


@pytest.mark.slow
def test_it_holds(databases):
    findings = on_stage(kills.scenario, databases, kills.SHORT)
    assert findings.verdict == "holds", findings
