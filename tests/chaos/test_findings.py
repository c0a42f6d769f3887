"""When a scenario may say that a guarantee holds."""

import pytest

from tests.chaos.findings import Findings, Seen


@pytest.mark.parametrize(
    ("seen", "broken", "verdict"),
    [
        (3, 0, "holds"),
        (2, 0, "saw nothing"),
        (3, 1, "BROKEN"),
        (2, 1, "BROKEN"),
    ],
)
def test_verdict(seen, broken, verdict):
    findings = Findings({"kills": Seen(seen, 3)}, {"overspent": broken, "lost": 0})
    assert findings.verdict == verdict


def test_every_figure_is_shown():
    findings = Findings(
        {"kills": Seen(1000), "reads": Seen(2, 50)}, {"lost": 2, "overspent": 0}, {"delay": "1 s"}, ("oh",)
    )
    assert list(findings.lines()) == [
        "kills: 1,000",
        "reads: 2 (saw nothing: at least 50 wanted)",
        "delay: 1 s",
        "lost: 2 BROKEN",
        "overspent: 0",
        "note: oh",
    ]
