"""Comparisons replayed on a table made by hand."""

import json
import re

import pytest

from hpo_gn.commands.replay import replay
from hpo_gn.comparison.result import CellResult
from hpo_gn.errors import HpoGnError
from hpo_gn.recorded import write_table
from tests.comparison.written import write_spec
from tests.recorded.runs import EPOCHS, a_run, a_table

SPACE = {
    "hyperparameters": [
        {
            "name": "learning_rate",
            "type": "uniform_float",
            "lower": 1e-4,
            "upper": 1.0,
            "log": True,
            "default_value": 1e-2,
        },
        {"name": "batch_size", "type": "uniform_int", "lower": 1, "upper": 64, "default_value": 32},
    ]
}


def run(number):
    losses = [2.0 / epoch + number / 20 for epoch in range(1, EPOCHS + 1)]
    tested = {"test_accuracy": (0.9 - number / 40,), "test_loss": (0.3,)}
    rate = 10 ** (-4 + number / 5)
    return a_run(number, *losses, learning_rate=rate, batch_size=1 + 3 * number, **tested)


def spec_with_table(folder, **changes):
    write_table(a_table(*map(run, range(20))), folder / "runs.jsonl.gz")
    (folder / "space.yaml").write_text(json.dumps(SPACE))
    here = {"model": None, "training": "math:sqrt", "space": "space.yaml", "table": "runs.jsonl.gz"}
    return write_spec(folder, **here | {"objective": ["val-loss", "rank-sum"], "budget": 32} | changes)


def results(folder):
    return [CellResult.from_json(line) for line in (folder / "cells.jsonl").read_text().splitlines()]


def test_millions_of_seeds_by_mistake_are_refused_at_once(tmp_path):
    with pytest.raises(HpoGnError, match="seeds must be at most 10,000, got 1000000000"):
        replay(spec_with_table(tmp_path), seeds=10**9, workers=1, output=tmp_path / "one")


def test_hours_of_replays_want_a_yes(tmp_path, monkeypatch):
    monkeypatch.setattr("hpo_gn.comparison.replaying._LONG_S", 0.0)
    spec = spec_with_table(tmp_path, seed=2)
    with pytest.raises(HpoGnError, match=r"4 replays: about \d+:\d\d:\d\d, 1 at once; give --yes"):
        replay(spec, workers=1, output=tmp_path / "one")
    assert not (tmp_path / "one" / "cells.jsonl").exists()
    replay(spec, workers=1, output=tmp_path / "one", yes=True)
    assert len(results(tmp_path / "one")) == 4


def test_every_seed_of_every_method_is_replayed(tmp_path, capsys):
    spec = spec_with_table(tmp_path)
    replay(spec, seeds=20, workers=1, output=tmp_path / "one")
    found = results(tmp_path / "one")
    assert len(found) == 40
    assert [each.labels.seed for each in found] == [seed for seed in range(20) for _ in range(2)]
    assert all(each.replayed and each.budget == 32 and each.spent == 32 for each in found)
    best = {each.labels.seed: each for each in found if each.labels.objective == "val-loss"}
    assert len({each.incumbents[-1].value for each in best.values()}) > 1
    assert all(each.score == each.incumbents[-1].test_accuracy[0] for each in found)
    said = capsys.readouterr()
    assert "40 replays in 0:0" in said.err
    assert str(tmp_path / "one" / "comparison.html") in said.out

    replay(spec, seeds=20, workers=2, budget=32, output=tmp_path / "two")
    assert results(tmp_path / "two") == found


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"table": None}, "table is missing: the recorded runs to replay on"),
        ({"table": "gone.gz"}, "gone.gz"),
        ({"data": ["digits", "mnist"]}, "a replay is of one model and one data set, since one table is"),
        ({"epochs": 5}, "the table's runs have 4 epochs, not 5"),
        ({"objective": ["val-loss", "s-fv"]}, "s-fv with random: the table lacks"),
    ],
)
def test_what_cannot_be_replayed_is_one_line_and_writes_nothing(tmp_path, changes, message):
    spec = spec_with_table(tmp_path, **changes)
    with pytest.raises(HpoGnError, match=re.escape(message)) as raised:
        replay(spec, workers=1, output=tmp_path / "out")
    assert str(raised.value).startswith(f"{spec}: ")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("options", [{"seeds": 0}, {"budget": 0}, {"workers": 0}])
def test_numbers_below_one_are_refused(tmp_path, options):
    (name,) = options
    with pytest.raises(HpoGnError, match=f"{name} must be 1 or more, got 0"):
        replay(tmp_path / "gone.yaml", **options)
