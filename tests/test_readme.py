"""The README's examples run."""

import inspect
import re
from pathlib import Path

import torch
import yaml
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import hpo_gn.measures
import hpo_gn.measures.initialization
from hpo_gn import History
from hpo_gn.space import load_space

README = (Path(__file__).parents[1] / "README.md").read_text()


def block(language, index=0):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)[index]


def test_the_example_in_an_existing_study_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    loader = DataLoader(TensorDataset(torch.randn(40, 5), torch.randint(0, 3, (40,))), batch_size=16)

    def build(learning_rate):
        model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
        return model, torch.optim.SGD(model.parameters(), lr=learning_rate)

    def train_one_epoch(model, optimizer, batches):
        for inputs, targets in batches:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs), targets).backward()
            optimizer.step()

    names = {
        "build": build,
        "train_one_epoch": train_one_epoch,
        "train_loader": loader,
        "validation_loader": loader,
    }
    exec(block("python").replace("n_trials=32", "n_trials=3"), names)
    study, ledger = names["study"], names["ledger"]
    assert (ledger.account().spent, ledger.account().held) == (24, 0)
    for trial in study.trials:
        assert names["objective"](History.of(trial)) == trial.value
    ledger.close()
    study._storage.remove_session()
    study._storage._backend.engine.dispose()


def test_the_example_in_a_loop_of_ones_own_runs(capsys):
    torch.manual_seed(0)
    loader = DataLoader(TensorDataset(torch.randn(40, 5), torch.randint(0, 3, (40,))), batch_size=16)
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    names = {"model": model, "train_loader": loader}
    exec(block("python", 1), names)
    assert {"agn", "gn", "gsnr", "train_loss"} <= names["row"].keys()


def test_the_table_of_measures_is_complete():
    rows = re.findall(r"^\| (`.*?) \|", README[README.index("| measure | columns") :], re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    kinds = [*vars(hpo_gn.measures).values(), *vars(hpo_gn.measures.initialization).values()]
    ours = {kind.__name__ for kind in kinds if inspect.isclass(kind) and hasattr(kind, "compute")}
    assert named >= ours - {"Measure", "MeanLoss", "Accuracy"}


def test_the_comparison_is_the_specification_that_its_command_names():
    quick = Path(__file__).parents[1] / "benchmarks" / "compare" / "quick.yaml"
    assert yaml.safe_load(block("yaml")) | {"name": "quick"} == yaml.safe_load(quick.read_text())


def test_the_example_space_can_be_read(tmp_path):
    (tmp_path / "space.yaml").write_text(block("yaml", 1))
    assert set(load_space(tmp_path / "space.yaml")) == {
        "batch_size",
        "learning_rate",
        "momentum",
        "weight_decay",
        "width",
    }
