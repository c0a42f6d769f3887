"""The command that runs the long forms."""

import sys

import pytest

from tests.chaos import __main__ as command
from tests.chaos import stops
from tests.chaos.findings import Findings, Seen


@pytest.mark.parametrize(("broken", "verdict", "status"), [(0, "holds", 0), (1, "BROKEN", 1)])
def test_it_shows_counts_and_verdict(monkeypatch, capsys, tmp_path, broken, verdict, status):
    monkeypatch.setattr(stops, "scenario", lambda *_: Findings({"stops": Seen(12)}, {"let through": broken}))
    output = tmp_path / "chaos.txt"
    arguments = ["--only", "stops", "--sqlite", "--short", "--output", str(output)]
    monkeypatch.setattr(sys, "argv", ["chaos", *arguments])
    assert command.main() == status
    printed = capsys.readouterr().out
    assert output.read_text() == printed
    first, *_, title, seen, let_through = printed.splitlines()
    assert first == "What the ledger and the checkpoints survive"
    assert title.startswith("stops, SQLite ")
    assert title.endswith(f" s: {verdict}")
    assert "victims 3, rounds 4, lease_s 0.5" in title
    assert seen == "  stops: 12"
    assert let_through == f"  let through: {broken}{' BROKEN' if broken else ''}"


def test_the_long_forms_are_as_large_as_the_project_promises():
    sizes = command.sizes_of(command.kills, short=False)
    assert (sizes.workers, sizes.epochs, sizes.kills) == (8, 60_000, 1_000)
    sizes = command.sizes_of(command.crashes, short=False)
    assert (sizes.server_stops, sizes.writer_kills) == (20, 200)
    sizes = command.sizes_of(command.stops, short=False)
    assert sizes.victims * sizes.rounds == 300
    assert command.sizes_of(command.model, short=False).steps == 10_000
