"""What the ledger acknowledged survives a crash of the server and of the writer."""

import pytest

from tests.chaos import crashes
from tests.chaos.processes import on_stage


@pytest.mark.slow
def test_it_holds(databases):
    findings = on_stage(crashes.scenario, databases, crashes.SHORT)
    assert findings.verdict == "holds", findings
