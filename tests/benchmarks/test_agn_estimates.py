import json
import math
import sys

import pytest
import torch
from scipy.stats import kendalltau

from benchmarks import agn_estimates
from benchmarks.agn_estimates import ESTIMATES, discordant, runs_of, summed, table
from hpo_gn.data import open_data, search_splits
from hpo_gn.measures import AGN, measure
from hpo_gn.models import build_model


@pytest.fixture(scope="module")
def runs():
    return list(runs_of(open_data("digits"), count=3, epochs=2, samples=50, seed=0))


def test_each_run_has_each_estimate_and_its_share_of_each_epoch(runs):
    for run in runs:
        assert set(run["values"]) == set(ESTIMATES)
        assert all(len(each) == 2 for kind in ("values", "shares") for each in run[kind].values())
        assert all(share > 0 for name in ("exact", "fixed", "fresh") for share in run["shares"][name])


def test_a_subset_of_all_samples_is_exact():
    (run,) = runs_of(open_data("digits"), count=1, epochs=1, samples=10_000, seed=0)
    exact = run["values"]["exact"]
    assert run["values"]["fixed"] == pytest.approx(exact, rel=1e-5)
    assert run["values"]["fresh"] == pytest.approx(exact, rel=1e-5)


def test_the_fresh_subset_is_another_one_each_epoch(runs):
    for run in runs:
        fixed, fresh = run["values"]["fixed"], run["values"]["fresh"]
        assert fixed[0] == fresh[0]
        assert fixed[1] != fresh[1]


def test_gathering_online_changes_nothing_in_the_training(runs):
    config, data = runs[0]["config"], open_data("digits")
    training = agn_estimates.supervised(lambda *given: build_model("lenet5", *given))(
        config, search_splits(data), epochs=4, seed=agn_estimates.derive_seed(0, 0)
    )
    values = []
    for _ in range(2):
        agn_estimates.train_online(training, values)
    assert values == pytest.approx(runs[0]["values"]["online"], rel=1e-5)
    split = search_splits(data).train
    assert measure(training.model, split.batches(100), [AGN()])["agn"] == pytest.approx(
        runs[0]["values"]["exact"][1], rel=1e-5
    )


def test_a_diverged_configuration_gives_way_and_is_counted(monkeypatch):
    results = iter([{"diverged_in_epoch": 1}, {"diverged_in_epoch": None}, {"diverged_in_epoch": None}])
    monkeypatch.setattr(agn_estimates, "run", lambda *_: next(results))
    runs = list(runs_of(open_data("digits"), count=2, epochs=1, samples=5, seed=0))
    assert [run["draw"] for run in runs] == [0, 1, 2]


def test_training_that_diverges_says_in_which_epoch():
    splits = search_splits(open_data("digits"))
    build = agn_estimates.partial(
        agn_estimates.supervised(lambda *given: build_model("lenet5", *given)),
        {"batch_size": 32, "learning_rate": 1e30, "momentum": 0.0, "weight_decay": 0.0},
        splits,
        epochs=2,
        seed=0,
    )
    assert agn_estimates.run(build, splits.train, 2, 10) == {"diverged_in_epoch": 1}


def test_discordant_pairs_are_kendalls():
    generator = torch.Generator().manual_seed(0)
    first, second = torch.rand(2, 12, generator=generator).tolist()
    tau = kendalltau(first, second).statistic
    assert 1 - 2 * discordant(first, second) / 66 == pytest.approx(tau)


def test_the_table_holds_the_taus_and_the_median_shares(runs):
    text = table([*runs, {"diverged_in_epoch": 1}], 50)
    assert text.startswith("3 configurations, 1 more diverged")
    tau = kendalltau(summed(runs, "exact"), summed(runs, "online")).statistic
    assert f"{tau:.3f}" in text.split("online, while training")[1]
    assert "nan" not in text


def test_the_command_writes_the_table_and_the_runs(monkeypatch, tmp_path):
    arguments = ["--count", "2", "--epochs", "1", "--samples", "20", "--data", "digits", "--output"]
    monkeypatch.setattr(sys, "argv", ["agn_estimates", *arguments, str(tmp_path)])
    monkeypatch.setattr(agn_estimates, "keep_freed_memory", lambda: False)
    agn_estimates.main()
    lines = (tmp_path / "agn_estimates.jsonl").read_text().splitlines()
    assert [json.loads(line)["draw"] for line in lines] == [0, 1]
    assert "287 images" in (tmp_path / "agn_estimates.txt").read_text()
    assert all(math.isfinite(json.loads(line)["values"]["exact"][0]) for line in lines)
