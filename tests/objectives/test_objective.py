import dataclasses
import math
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
import torch

import hpo_gn.objectives
from hpo_gn.data import open_data, search_splits
from hpo_gn.errors import StudyError
from hpo_gn.history import History, write_row
from hpo_gn.measures import Measure, measure
from hpo_gn.measures.early_success import NORMALIZED, EarlySuccess
from hpo_gn.objectives import Objective, RelativeObjective
from hpo_gn.recorded_measures import RECORDED
from hpo_gn.registry import load, names

REGISTERED = {name: load("objective", name) for name in names("objective")}
EVERY = pytest.mark.parametrize("make", REGISTERED.values(), ids=REGISTERED)


def variants(make) -> list[Objective]:
    """The objective with its defaults, and with every other setting that it takes."""
    fields = {field.name for field in dataclasses.fields(make)}
    others = {"alpha": 0.25, "normalized": True, "parameters": NORMALIZED, "gated": True, "deviation": 0.5}
    return [make(), make(**{name: value for name, value in others.items() if name in fields})]


def test_the_registered_are_those_of_the_package():
    exported = {getattr(hpo_gn.objectives, name) for name in hpo_gn.objectives.__all__}
    assert exported - {Objective, RelativeObjective} == set(REGISTERED.values())


RELATIVE = {name: make for name, make in REGISTERED.items() if isinstance(make(), RelativeObjective)}


def test_which_are_relative():
    assert set(RELATIVE) == {"one-deviation", "pareto", "rank-sum"}


@pytest.mark.parametrize("make", RELATIVE.values(), ids=RELATIVE)
def test_a_relative_one_gives_each_history_one_finite_value_in_their_order(make):
    """What a Protocol cannot say: values do not depend on the order, and none is missing."""
    rows = [
        {"val_loss": loss, "agn": agn, "train_accuracy": fit, "train_majority": 0.1, "train_entropy": 1 - fit}
        for loss, agn, fit in [(0.5, 9, 0.9), (0.4, 20, 0.9), (2.3, 1, 0.1), (2.3, 1, 0.1), (0.5, 8, 1.0)]
    ]
    histories = [History([row]) for row in rows]
    for objective in variants(make):
        values = objective.among(histories)
        assert [type(value) for value in values] == [float] * 5
        assert all(map(math.isfinite, values))
        assert values[2] == values[3]
        assert objective.among(histories[::-1]) == values[::-1]
        assert len(objective.among(histories[:1])) == 1
        assert list(objective.among([])) == []


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
