"""The command's words: what it prints, and one line for every mistake."""

import json
import re

import numpy as np
import pytest
from typer.testing import CliRunner

import hpo_gn
from hpo_gn.cli import app

SMALL = [
    "--budget",
    "4",
    "--epochs",
    "1",
    "--round-size",
    "2",
    "--searcher",
    "random",
    "--seeds",
    "1",
    "--workers",
    "1",
]


@pytest.fixture
def command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        return CliRunner().invoke(app, list(arguments))

    return run


def test_version(command):
    assert command("--version").stdout == f"hpo-gn {hpo_gn.__version__}\n"


def test_help_names_every_option(command):
    page = command("search", "--help").stdout
    for option in (
        "--data",
        "--model",
        "--space",
        "--objective",
        "--searcher",
        "--budget",
        "--epochs",
        "--workers",
    ):
        assert option in page


def test_shows_progress_and_a_table_with_the_verdict(command, tmp_path):
    done = command("search", *SMALL)
    assert done.exit_code == 0, done.output
    assert "Search: 4 of 4 GPU×epochs spent, 0 held; trials: 4 complete" in " ".join(done.stdout.split())
    assert "The search chose the initial settings: test accuracy" in done.stdout
    assert "search: 4/4 epochs, 0 held, 0 left; round 2, 4/4 trials; best" in done.stderr
    assert (tmp_path / "runs" / "digits-mlp-valloss-random" / "best.yaml").exists()


def test_json_is_all_there_is_on_standard_output(command, tmp_path):
    done = command("search", *SMALL, "--json", "--output", "out")
    assert json.loads(done.stdout) == json.loads((tmp_path / "out" / "result.json").read_text())


def test_own_data_and_own_model_with_own_parameters(command, tmp_path):
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 3, 300)
    images = (generator.random((300, 6, 6)) * 50 + 60 * labels[:, None, None]).astype(np.uint8)
    np.savez(tmp_path / "own.npz", x_train=images, y_train=labels, x_test=images[:60], y_test=labels[:60])
    (tmp_path / "network.py").write_text(
        "from torch import nn\n"
        "def build(shape, classes, width):\n"
        "    hidden = nn.Linear(36, width)\n"
        "    return nn.Sequential(nn.Flatten(), hidden, nn.ReLU(), nn.Linear(width, classes))\n"
    )
    (tmp_path / "space.yaml").write_text(
        "hyperparameters:\n"
        "  - {type: uniform_int, name: batch_size, lower: 8, upper: 64, default_value: 16, log: true}\n"
        "  - {type: uniform_float, name: learning_rate, lower: 1e-3, upper: 0.5, default_value: 0.1}\n"
        "  - {type: constant, name: momentum, value: 0.9}\n"
        "  - {type: constant, name: weight_decay, value: 0.0}\n"
        "  - {type: categorical, name: width, choices: [8, 16], default_value: 8}\n"
    )
    own = ["--data", "own.npz", "--model", "network:build", "--space", "space.yaml", "--output", "out"]
    done = command("search", *SMALL, *own)
    assert done.exit_code == 0, done.output
    best = json.loads((tmp_path / "out" / "result.json").read_text())["winner"]
    assert best["params"]["width"] in (8, 16)
    assert best["test_accuracy"][0] > 0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--searcher", "cma_es"], "no searcher is called 'cma_es'; did you mean 'cma-es'?"),
        (["--objective", "val-los"], "no objective is called 'val-los'; did you mean 'val-loss'?"),
        (["--model", "lenet"], "no model is called 'lenet'; did you mean 'lenet5'?"),
        (["--data", "mnst"], "no data set is called 'mnst'; did you mean 'mnist'?"),
        (["--alpha", "0.1"], "alpha must be left out, since objective 'val-loss' does not take it, got 0.1"),
        (["--objective", "agn-val", "--alpha", "-1"], "alpha must be a finite number, 0 or more, got -1.0"),
        (["--budget", "3", "--epochs", "4"], "budget must be at least 4, one trial's epochs, got 3"),
        (
            ["--budget", "6", "--epochs", "1", "--include-retraining"],
            "budget must be at least 7, one trial's epochs and the retraining's, got 6",
        ),
        (["--workers", "0"], "workers must be 1 or more, got 0"),
        (["--fraction", "0.001"], "digits: class 0 is left without a sample in the reduced training set"),
        (
            ["--storage", "mysql://me:secret@host/x"],
            "storage must be a URL of a SQLite file or a PostgreSQL database",
        ),
        (["--storage", "no url"], "storage must be a URL of a SQLite file or a PostgreSQL database"),
        (
            ["--storage", "sqlite:////no/such/folder/s.db"],
            "cannot open the storage sqlite:////no/such/folder/s.db",
        ),
        (["--device", "cuda:7"], "device must be auto, cpu, or a GPU that is there, got 'cuda:7'"),
        (["--space", "nowhere.yaml"], "nowhere.yaml"),
        (["--data", "nowhere.npz"], "nowhere.npz"),
        (
            ["--training", "own:Own", "--model", "mlp"],
            "model must be given, unless a training is, and not both",
        ),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(command, tmp_path, arguments, message):
    done = command("search", *arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert message in done.stderr
    assert re.fullmatch(r"hpo-gn: [^\n]*\n", done.stderr), done.stderr
    assert "secret" not in done.output
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        ("hyperparameters: []\n", "space.yaml"),
        (
            "hyperparameters:\n  - {type: uniform_float, name: rate, lower: 0, upper: 1}\n",
            "it lacks batch_size",
        ),
        ("hyperparameters: [\n", "space.yaml"),
    ],
)
def test_a_useless_space_is_one_line_and_exit_2(command, tmp_path, contents, message):
    (tmp_path / "space.yaml").write_text(contents)
    done = command("search", "--space", "space.yaml")
    assert done.exit_code == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
