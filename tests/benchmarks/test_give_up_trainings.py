import json
from dataclasses import replace

import pytest

from benchmarks.give_up import architectures, calibration, initializations, shuffled_labels
from benchmarks.give_up.trainings import Experiment, Network, read
from hpo_gn.data.shell import shell

DATA = shell(6, samples=200, test_samples=60)
NETWORKS = [Network(number, (6, 8, 4, 2), 1.0 + number) for number in range(3)]


def experiment(**changes) -> Experiment:
    return replace(Experiment("short", "adam", 1e-2, epochs=3, stack=2), **changes)


def test_a_run_holds_what_the_scores_need(tmp_path):
    runs = experiment().complete(tmp_path / "runs.jsonl.gz", DATA, NETWORKS)
    assert [(run["number"], run["factor"], run["epochs"]) for run in runs] == [
        (0, 1, 3),
        (1, 2, 3),
        (2, 3, 3),
    ]
    rows = runs[0]["rows"]
    assert set(rows) == {
        "val_loss",
        "val_accuracy",
        "train_loss",
        "train_accuracy",
        "spectrum:0",
        "spectrum:1",
    }
    assert {len(column) for column in rows.values()} == {3}
    assert rows["train_accuracy"][:2] == [None, None]
    assert rows["train_accuracy"][2] > 0.4
    assert runs[0]["rows"] != runs[1]["rows"]


def test_a_stopped_benchmark_continues_with_the_same_numbers(tmp_path, capsys):
    whole, parts = tmp_path / "whole.jsonl.gz", tmp_path / "parts.jsonl.gz"
    expected = experiment().complete(whole, DATA, NETWORKS)
    experiment(stack=1).complete(parts, DATA, NETWORKS[1:2])
    capsys.readouterr()
    found = experiment().complete(parts, DATA, NETWORKS)
    assert "1:2.00" not in capsys.readouterr().out
    for run, other in zip(found, expected, strict=True):
        for name in ("val_loss", "val_accuracy", "spectrum:0", "spectrum:1"):
            assert run["rows"][name] == pytest.approx(other["rows"][name], rel=1e-3)
    assert json.dumps(read(whole)) == json.dumps(expected)


def test_runs_of_other_settings_do_not_count(tmp_path):
    file = tmp_path / "runs.jsonl.gz"
    experiment(epochs=2).complete(file, DATA, NETWORKS[:1])
    (run,) = experiment(epochs=3).complete(file, DATA, NETWORKS[:1])
    assert run["epochs"] == 3
    (run,) = experiment(epochs=3).complete(file, DATA, [replace(NETWORKS[0], factor=5.0)])
    assert run["factor"] == 5
    assert len(read(file)) == 3


def test_what_is_not_finite_is_none(tmp_path):
    (run,) = experiment(optimizer="sgd", learning_rate=1e30).complete(
        tmp_path / "runs.jsonl.gz", DATA, NETWORKS[:1]
    )
    assert run["rows"]["spectrum:0"][-1] is None


def test_the_papers_initializations():
    found = initializations.networks("da-i", 1.0, 120, seed=0)
    assert found[0].widths == (1024, 512, 256, 256, 128, 2)
    assert initializations.networks("da-ii", 1.0, 137, seed=0)[0].widths == (256, 256, 128, 2)
    factors = [network.factor for network in found]
    assert min(factors) >= 0.1
    assert max(factors) <= 10
    assert initializations.networks("da-i", 0.25, 5, seed=0)[4].factor == factors[4]


def test_the_papers_architectures():
    found = architectures.networks(1.0, 50, seed=0)
    depths = {len(network.widths) - 2 for network in found}
    assert depths <= set(range(1, 12))
    assert len(depths) > 6
    assert {width for network in found for width in network.widths[1:-1]} == {32, 64, 128, 256, 512}
    assert {network.widths[0] for network in found} == {1024}
    assert architectures.networks(1.0, 5, seed=0) == found[:5]


@pytest.mark.slow
def test_the_benchmarks_run(tmp_path, monkeypatch, capsys):
    scaled = ["--epochs", "31", "--scale", "0.0625"]
    monkeypatch.setattr(calibration, "WINDOWS", (5,))
    monkeypatch.setattr(calibration, "NORMALIZED_GRID", {"t2": (0.7,), "delta": (0.0,)})
    output = tmp_path / "initializations"
    monkeypatch.setattr(initializations, "shell", lambda d, seed: shell(d, samples=64, test_samples=40))
    monkeypatch.setattr("sys.argv", ["", *scaled, "--counts", "4", "4", "--output", str(output)])
    initializations.main()
    assert "da-ii: Spearman with the final validation accuracy" in capsys.readouterr().out
    monkeypatch.setattr(architectures, "shell", lambda d, seed: shell(d, samples=64, test_samples=40))
    arguments = ["--count", "3", "--calibration", str(output / "da-i.jsonl.gz"), "--output", str(tmp_path)]
    monkeypatch.setattr("sys.argv", ["", *scaled, *arguments])
    architectures.main()
    assert "architectures: n = 3" in capsys.readouterr().out
    for folder in (output, tmp_path):
        assert {file.name for file in folder.glob("*.*")} >= {"summary.txt", "figure.png"}


def test_the_shuffled_labels_run(tmp_path, monkeypatch, capsys):
    def small(dimensions, shuffled, seed):
        return shell(dimensions, samples=320, test_samples=100, shuffled=shuffled, seed=seed)

    monkeypatch.setattr(shuffled_labels, "shell", small)
    monkeypatch.setattr("sys.argv", ["", "--epochs", "12", "--output", str(tmp_path)])
    shuffled_labels.main()
    assert "while it rises: s_s negative in" in capsys.readouterr().out
    assert (tmp_path / "figure.png").exists()
