import dataclasses
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
import torch

import hpo_gn.objectives
from hpo_gn.data import open_data, search_splits
from hpo_gn.errors import StudyError
from hpo_gn.experiment import RECORDED
from hpo_gn.history import History, write_row
from hpo_gn.measures import Measure, measure
from hpo_gn.measures.early_success import NORMALIZED, EarlySuccess
from hpo_gn.objectives import Objective
from hpo_gn.registry import load, names

REGISTERED = {name: load("objective", name) for name in names("objective")}
EVERY = pytest.mark.parametrize("make", REGISTERED.values(), ids=REGISTERED)


def variants(make) -> list[Objective]:
    """The objective with its defaults, and with every other setting that it takes."""
    fields = {field.name for field in dataclasses.fields(make)}
    others = {"alpha": 0.25, "normalized": True, "parameters": NORMALIZED}
    return [make(), make(**{name: value for name, value in others.items() if name in fields})]


@EVERY
def test_each_keeps_the_contract(make):
    for objective in variants(make):
        assert isinstance(objective, Objective)
        assert all(isinstance(measure, Measure) for measure in objective.measures)


@EVERY
def test_each_is_a_value(make):
    for objective in variants(make):
        again = eval(repr(objective), vars(hpo_gn.objectives) | {"EarlySuccess": EarlySuccess})
        assert again == objective
        assert hash(again) == hash(objective)
        with pytest.raises((dataclasses.FrozenInstanceError, TypeError)):
            objective.alpha = 1.0


@EVERY
def test_each_says_what_it_misses(make):
    with pytest.raises(StudyError, match="the history is empty, so it has no"):
        make()(History())


def train_and_report(trial: optuna.Trial, objective: Objective) -> float:
    """Three epochs of a linear model of the digits; reports the objective after each."""
    splits = search_splits(open_data("digits"))
    torch.manual_seed(trial.number)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    optimizer = torch.optim.SGD(
        model.parameters(), lr=trial.suggest_float("learning_rate", 0.01, 0.5, log=True)
    )
    inputs, targets = splits.train.batch(slice(None))
    history = History()
    for epoch in range(1, 4):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
        measured = measure(
            model,
            {"train": splits.train.batches(100), "validation": splits.validation.batches(100)},
            [*objective.measures, *RECORDED],
        )
        write_row(trial, epoch, measured)
        history = history.with_row(measured)
        trial.report(objective(history), epoch)
    return objective(history)


@EVERY
def test_each_is_computed_again_from_a_finished_study(make):
    for objective in variants(make):
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        study.optimize(lambda trial, objective=objective: train_and_report(trial, objective), n_trials=3)
        assert len({trial.value for trial in study.trials}) == 3
        for trial in study.trials:
            history = History.of(trial)
            assert objective(history) == trial.value
            for epoch, reported in trial.intermediate_values.items():
                assert objective(history.upto(epoch)) == reported


def test_an_objective_that_was_not_the_studys_is_computed_from_it_too():
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.optimize(lambda trial: train_and_report(trial, REGISTERED["val-loss"]()), n_trials=1)
    history = History.of(study.trials[0])
    expected = history.rows[-1]["val_loss"] + 0.5 * sum(row["agn"] for row in history.rows)
    assert REGISTERED["agn-val"](alpha=0.5)(history) == pytest.approx(expected)


def test_a_bare_import_is_refused():
    run = subprocess.run(
        [sys.executable, "-c", "import objectives"],
        cwd=Path(hpo_gn.__file__).resolve().parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 1
    assert "ImportError: import hpo_gn.objectives: a bare 'objectives'" in run.stderr
