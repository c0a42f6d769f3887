"""Whole comparisons in this process, whose cells are processes of their own."""

import json
import sys

import pytest
import typer

from hpo_gn.commands.compare import compare
from hpo_gn.comparison.result import CellResult
from hpo_gn.errors import HpoGnError, StudyError
from tests.comparison.written import log, write_spec, write_training

pytestmark = pytest.mark.slow


class Comparing:
    """A comparison in a folder; `papers` can be imported by its processes too."""

    def __init__(self, folder):
        self.folder, self.output = folder, folder / "out"
        self.common = write_training(folder)

    def spec(self, **changes):
        return write_spec(self.folder, **self.common | changes)

    def run(self, spec, **options):
        given = {"only": None, "workers": 1, "device": "cpu", "output": self.output}
        compare(spec, **given | options)

    def results(self):
        lines = (self.output / "cells.jsonl").read_text().splitlines()
        return {each.labels: each for each in map(CellResult.from_json, lines)}


@pytest.fixture
def comparing(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield Comparing(tmp_path)
    sys.modules.pop("papers", None)


def test_a_failed_cell_is_kept_and_others_go_on(comparing, capsys):
    spec = comparing.spec(training=["papers:Breaks", "papers:Slow"])
    comparing.run(spec)
    broken, fine = comparing.results().values()
    assert broken.failure == "every trial of the last round failed, the first with RuntimeError: out of paper"
    assert (broken.labels.model, broken.score, broken.incumbents) == ("papers:Breaks", broken.chance, ())
    assert broken.trials == {"fail": 2}
    assert (fine.labels.model, fine.failure, fine.spent, fine.budget) == ("papers:Slow", None, 8, 8)
    assert (len(fine.test_accuracy), fine.failed_retrainings, fine.replayed) == (1, 0, False)
    assert fine.incumbents[-1].test_accuracy == fine.test_accuracy
    assert fine.trials == {"complete": 2}
    assert 0.1 < fine.chance < 0.12
    said = capsys.readouterr()
    assert "2 cells × 8 = 16 GPU×epochs, and 8 of retraining: about 0:0" in said.err
    assert "2/2 cells, 1 failed" in said.err
    assert str(comparing.output / "comparison.html") in said.out

    # Nothing is left to do, so nothing is run; the failed one only when it is asked for.
    epochs = len(log(comparing.folder))
    comparing.run(spec)
    assert len(log(comparing.folder)) == epochs
    (comparing.folder / "mended").touch()
    comparing.run(spec, retry_failed=True)
    mended, same = comparing.results().values()
    assert (mended.failure, mended.spent) == (None, 8)
    assert same == fine

    # Another seed keeps both; another number of epochs would be another comparison.
    before = comparing.results()
    comparing.run(comparing.spec(training=["papers:Breaks", "papers:Slow"], seed=2), only=[second(1)])
    after = comparing.results()
    assert len(after) == 3
    assert before.items() <= after.items()
    assert "1 cells have no result; what runs them:" in capsys.readouterr().out
    for change, said in (({"epochs": 2}, "epochs 4, not 2"), ({"budget": 12}, "budget 8, not 12")):
        with pytest.raises(StudyError, match=f"was run with {said}; give the comparison another name"):
            comparing.run(comparing.spec(training="papers:Slow", **change))
    assert comparing.results() == after


def second(seed):
    return f"papers:Slow/digits/val-loss/random/none/seed-{seed}"


def test_a_dry_run_lists_cells_and_writes_nothing(comparing, capsys):
    spec = comparing.spec(training="papers:Slow", seed=2)
    comparing.run(spec, dry_run=True)
    said = capsys.readouterr().out
    assert "2 cells, 2 without a result:" in said
    assert f"hpo-gn compare --output {comparing.output} {spec} --only {second(1)}" in said
    assert not comparing.output.exists()


def test_many_cells_by_mistake_cost_nothing(comparing):
    spec = comparing.spec(training="papers:Slow", seed=1000)
    with pytest.raises(HpoGnError, match=r"1,000 cells × 8 = 8,000 .*: about .*; give --yes to start"):
        comparing.run(spec)
    assert not comparing.output.exists()
    assert len(log(comparing.folder)) == 2  # the probe's


def test_what_no_cell_can_train_is_said_before_anything_is_run(comparing):
    spec = comparing.spec(training=["papers:Slow", "papers:Gone"], seed=2)
    with pytest.raises(HpoGnError, match="papers:Gone"):
        comparing.run(spec)
    assert not comparing.output.exists()


def test_a_reason_that_is_not_the_cells_is_no_result(comparing, capsys):
    spec = comparing.spec(training="papers:Slow")
    with pytest.raises(typer.Exit):
        comparing.run(spec, checkpoints="/proc/nothing/can/be/here")
    said = capsys.readouterr()
    assert f"cell {second(0)} has no result: " in said.err
    assert "No page yet: no cell of the baseline val-loss has a result." in said.out
    assert json.loads(spec.read_text())["training"] == "papers:Slow"
    comparing.run(spec)
    assert [each.failure for each in comparing.results().values()] == [None]
