import json
import math

import numpy as np
import pytest
from scipy.stats import rankdata

from benchmarks import agn_figures
from benchmarks.agn_figures import complete, correlate, draw_figure1, draw_figure2, summarize
from hpo_gn.data import open_data


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    file = tmp_path_factory.mktemp("figures") / "runs.jsonl"
    return file, complete(file, "mlp", 3, open_data("digits"), epochs=1, seed=0)


def test_correlations_are_numpys_and_stand_in_the_summary(trained):
    _, runs = trained
    gn, agn = ([run[name] for run in runs] for name in ("gn_path", "agn"))
    found = correlate(runs, "gn_path", "agn")
    assert found.n == 3
    assert found.pearson == pytest.approx(np.corrcoef(gn, agn)[0, 1])
    assert found.spearman == pytest.approx(np.corrcoef(rankdata(gn), rankdata(agn))[0, 1])
    assert f"{np.corrcoef(gn, agn)[0, 1]:+.3f}" in summarize(runs)


def test_a_run_holds_the_sums_of_its_epochs_and_the_gap_at_the_end(trained):
    for run in trained[1]:
        columns = run["columns"]
        for name in ("agn", "gn", "gn_path"):
            assert run[name] == pytest.approx(sum(columns[name]), rel=1e-5)
        assert run["val_gap"] == pytest.approx(columns["val_loss"][-1] - columns["train_loss"][-1], abs=1e-4)
        assert run["iterations"] == math.ceil(287 / run["config"]["batch_size"])


def test_a_stopped_benchmark_continues_with_the_next_draw(trained, monkeypatch, tmp_path):
    _, runs = trained
    file = tmp_path / "runs.jsonl"
    file.write_text("".join(json.dumps(run) + "\n" for run in runs[:2]))
    monkeypatch.setattr(agn_figures, "train", lambda build, tensors, epochs: {"diverged_in_epoch": None})
    assert [run["draw"] for run in complete(file, "mlp", 3, open_data("digits"), epochs=1, seed=0)] == [
        0,
        1,
        2,
    ]
    assert len(file.read_text().splitlines()) == 3


def test_a_diverged_run_gives_way_to_the_next_draw_and_is_counted(trained, tmp_path):
    _, (first, *others) = trained
    file = tmp_path / "runs.jsonl"
    diverged = {**first, "diverged_in_epoch": 1}
    file.write_text("".join(json.dumps(run) + "\n" for run in (diverged, *others)))
    runs = complete(file, "mlp", 2, open_data("digits"), epochs=1, seed=0)
    assert runs == [diverged, *others]
    assert "mlp: 3 drawn, 1 diverged" in summarize(runs)


def test_training_that_diverges_says_in_which_epoch(monkeypatch, tmp_path):
    config = {"batch_size": 32, "learning_rate": 1e30, "momentum": 0.0, "weight_decay": 0.0}
    monkeypatch.setattr(agn_figures, "draws", lambda seed: [config])
    (run,) = complete(tmp_path / "runs.jsonl", "mlp", 1, open_data("digits"), epochs=2, seed=0)
    assert run["diverged_in_epoch"] == 1


@pytest.mark.parametrize("same", ["agn", "gap"])
def test_no_correlation_of_what_does_not_vary(trained, same):
    runs = [{**run, same: 1.0} for run in trained[1]]
    assert math.isnan(correlate(runs, "agn", "gap").pearson)
    assert "nan" not in summarize(runs)


@pytest.mark.parametrize("draw", [draw_figure1, draw_figure2])
def test_figures_are_small_files(trained, tmp_path, draw):
    draw(trained[1], tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "figure.png").stat().st_size < 200_000
