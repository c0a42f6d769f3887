import json
import sys

import pytest

from benchmarks.give_up import searches
from hpo_gn import Experiment, make_objective
from hpo_gn.space import paper_space

LINE = {
    "searcher": "random",
    "pruner": "give-up",
    "seed": 0,
    "trials": {"complete": 10, "fail": 1, "pruned": 9},
    "spent": 100,
    "value": 0.5,
    "test_accuracy": [0.8, 0.9],
    "failures": 1,
    "given_up": 9,
    "epochs_saved": 90,
    "shadows": 2,
    "wrong": 1,
    "shadow_epochs": 20,
}


def test_the_table_has_means_over_seeds():
    header, row = searches.table([LINE, LINE | {"seed": 1, "value": 0.7, "given_up": 10}]).splitlines()
    assert header.split()[:3] == ["searcher", "pruner", "n"]
    assert (
        "  ".join(row.split())
        == "random  give-up  2  20.0  9.5  90  4  2  0.6000  ±  0.1414  85.00  ±  0.00  2"
    )


def test_finished_searches_are_not_run_again(tmp_path, monkeypatch):
    asked = []

    def run(searcher, pruner, seed):
        asked.append((searcher, pruner, seed))
        return LINE | {"searcher": searcher, "pruner": pruner or "none", "seed": seed}

    monkeypatch.setattr(searches, "run", run)
    monkeypatch.setattr(sys, "argv", ["searches", "--output", str(tmp_path), "--seeds", "1"])
    searches.main()
    assert len(asked) == len(set(asked)) == len(searches.SEARCHERS) * len(searches.PRUNERS)
    lines = (tmp_path / "searches.jsonl").read_text().splitlines()
    (tmp_path / "searches.jsonl").write_text("\n".join(lines[:-2]) + "\n")
    again = asked[-2:]
    asked.clear()
    searches.main()
    assert asked == again
    assert [json.loads(line) for line in lines] == [
        json.loads(line) for line in (tmp_path / "searches.jsonl").read_text().splitlines()
    ]
    assert len((tmp_path / "searches.txt").read_text().splitlines()) == 4 + 1 + 9


def test_the_data_are_the_first_images_of_the_training_set(real_data):
    real_data("fashion-mnist")
    tenth = searches.fashion_mnist_tenth()
    assert tenth.read("train")[0].shape == (searches.IMAGES, 1, 28, 28)
    assert len(tenth.read("test")[0]) == 10_000


@pytest.mark.parametrize("pruner", searches.PRUNERS)
def test_every_search_can_be_made(pruner):
    objective = make_objective("val-loss")
    Experiment(data="digits", model="mlp", space=paper_space(), objective=objective, pruner=pruner).stopping()
