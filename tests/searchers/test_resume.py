"""The study is the only state: a search that is stopped at any point goes on as if it had not been."""

import json
import math
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState

from hpo_gn.history import write_row
from hpo_gn.registry import load

SPACE: dict[str, BaseDistribution] = {
    "learning_rate": FloatDistribution(1e-5, 1.0, log=True),
    "momentum": FloatDistribution(0.0, 0.99),
    "batch_size": IntDistribution(16, 512, log=True),
    "optimizer": CategoricalDistribution(["sgd", "adam", None]),
    "depth": IntDistribution(3, 3),
}
INITIAL = {"learning_rate": 0.01, "momentum": 0.6, "batch_size": 64, "optimizer": None, "depth": 3}
NAMES = ["cma-es", "mo-tpe", "nsga-ii", "particle-swarm", "random", "tpe"]
TRIALS = 14


def make(name: str) -> optuna.samplers.BaseSampler:
    small = {
        "cma-es": {"population_size": 4},
        "nsga-ii": {"population_size": 4},
        "particle-swarm": {"particles": 4},
    }.get(name, {})
    sampler = load("searcher", name)(search_space=SPACE, initial=INITIAL, seed=3, **small)
    assert isinstance(sampler, optuna.samplers.BaseSampler)
    return sampler


def outcome(number: int, params: Mapping[str, Any]) -> tuple[TrialState, float | None]:
    """A value, with failures, prunings and divergences among them."""
    if number % 7 == 5:
        return TrialState.FAIL, None
    value = math.log10(params["learning_rate"]) ** 2 + params["momentum"] + math.log(params["batch_size"])
    if number % 7 == 6:
        return TrialState.COMPLETE, -math.inf
    return (TrialState.COMPLETE if number % 5 else TrialState.PRUNED), value


def tell(study: optuna.Study, trial: optuna.Trial) -> None:
    state, value = outcome(trial.number, trial.params)
    if value is not None:
        write_row(trial, 1, {"val_loss": value, "agn": 1 - trial.params["momentum"]})
    if state is TrialState.PRUNED:
        assert value is not None
        trial.report(value, step=1)
        study.tell(trial, state=state)
    else:
        study.tell(trial, value, state)


def open_study(path: Path, name: str) -> optuna.Study:
    return optuna.load_study(study_name="s", storage=f"sqlite:///{path}", sampler=make(name))


def proposals(study: optuna.Study) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    return [(trial.params, trial.system_attrs) for trial in study.get_trials(deepcopy=False)]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A database with TRIALS trials by one sampler in one process, made once for each searcher."""
    made: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name) / "study.db"
            optuna.create_study(study_name="s", storage=f"sqlite:///{made[name]}")
            study = open_study(made[name], name)
            for _ in range(TRIALS):
                tell(study, study.ask(SPACE))
        return made[name]

    return get


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_reopened_after_every_trial(name: str, uninterrupted: Callable[[str], Path], tmp_path: Path) -> None:
    """Each trial from a new sampler on a reopened database: by induction, a stop after any of them."""
    path = tmp_path / "study.db"
    optuna.create_study(study_name="s", storage=f"sqlite:///{path}")
    for _ in range(TRIALS):
        study = open_study(path, name)
        tell(study, study.ask(SPACE))
    assert proposals(open_study(path, name)) == proposals(open_study(uninterrupted(name), name))


CONTINUE = """
import importlib.util, json, sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("resumed", sys.argv[1])
test = importlib.util.module_from_spec(spec)
spec.loader.exec_module(test)
for name in test.NAMES:
    study = test.open_study(Path(sys.argv[2]) / f"{name}.db", name)
    while len(study.trials) < test.TRIALS:
        test.tell(study, study.ask(test.SPACE))
"""


@pytest.mark.slow
def test_continued_by_a_new_process(uninterrupted: Callable[[str], Path], tmp_path: Path) -> None:
    for name in NAMES:
        half = open_study(uninterrupted(name), name).get_trials()[: TRIALS // 2]
        path = tmp_path / f"{name}.db"
        study = optuna.create_study(study_name="s", storage=f"sqlite:///{path}")
        study.add_trials(half)
    command = [sys.executable, "-c", CONTINUE, __file__, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in NAMES:
        resumed = open_study(tmp_path / f"{name}.db", name)
        assert proposals(resumed) == proposals(open_study(uninterrupted(name), name))


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_three_workers_whose_trials_interleave(name: str, tmp_path: Path) -> None:
    """One sampler for all, and a new one at every turn, propose the same while three trials run."""
    seen = []
    for shared in (True, False):
        path = tmp_path / f"{shared}.db"
        optuna.create_study(study_name="s", storage=f"sqlite:///{path}")
        study = open_study(path, name)
        running = [study.ask(SPACE) for _ in range(3)]
        for turn in range(TRIALS):
            study = study if shared else open_study(path, name)
            # The oldest, the youngest, the oldest …: they finish out of order.
            tell(study, running.pop(0 if turn % 2 else -1))
            running.append(study.ask(SPACE))
        seen.append(proposals(study))
    assert seen[0] == seen[1]


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_and_the_values_matter(
    name: str, uninterrupted: Callable[[str], Path], tmp_path: Path
) -> None:
    """The other tests can fail: another seed, and another past, give other proposals."""
    shutil.copy(uninterrupted(name), tmp_path / "study.db")
    study = open_study(tmp_path / "study.db", name)
    study.sampler = load("searcher", name)(search_space=SPACE, seed=4)
    other = json.dumps(study.ask(SPACE).params)
    study = open_study(uninterrupted(name), name)
    assert json.dumps(study.get_trials()[-1].params) != other


@pytest.mark.parametrize("name", ["mo-tpe", "nsga-ii", "particle-swarm", "random", "tpe"])
def test_the_first_trial_is_the_initial_settings(name: str, uninterrupted: Callable[[str], Path]) -> None:
    assert open_study(uninterrupted(name), name).get_trials()[0].params == INITIAL


@pytest.mark.parametrize("name", NAMES)
def test_values_are_plain(name: str, uninterrupted: Callable[[str], Path]) -> None:
    for trial in open_study(uninterrupted(name), name).get_trials():
        assert [type(trial.params[p]) for p in ("learning_rate", "momentum", "batch_size")] == [
            float,
            float,
            int,
        ]
        assert trial.params["optimizer"] in ("sgd", "adam", None)
        assert trial.params["depth"] == 3
        json.dumps(trial.system_attrs)
