"""CMA-ES: against one optimizer that lives through the whole search, and its arguments."""

import math
from collections.abc import Callable
from typing import Any

import cma
import numpy as np
import optuna
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState

from hpo_gn.errors import ArgumentError
from hpo_gn.searchers.cma_es import KEY, PyCmaSampler
from hpo_gn.unit_cube import UnitCube

SPACE: dict[str, BaseDistribution] = {
    "batch_size": IntDistribution(16, 1024, log=True),
    "learning_rate": FloatDistribution(1e-6, 1.0, log=True),
    "momentum": FloatDistribution(0.0, 1.0),
}

BINNED: dict[str, BaseDistribution] = {
    "activation": CategoricalDistribution(["relu", "tanh", "gelu"]),
    "depth": IntDistribution(1, 5),
    "dropout": FloatDistribution(0.0, 0.6, step=0.2),
}


def loss(params: dict[str, Any]) -> float:
    return (
        (math.log10(params["learning_rate"]) + 3) ** 2
        + params.get("momentum", 0.0) ** 2
        + math.log(params.get("batch_size", 16) / 64) ** 2
        + (params.get("depth", 3) - 3) ** 2
        + params.get("dropout", 0.0)
        + (params.get("activation", "relu") != "relu")
    )


def stateful_twin(
    space: dict[str, BaseDistribution], value: Callable[[int, dict[str, Any]], float], size: int, n: int
) -> list[dict[str, Any]]:
    """pycma as its manual uses it, one object told each generation, with a trial's own random numbers."""
    cube = UnitCube(space)
    random = np.random.RandomState()
    options = {
        "seed": np.nan,
        "randn": lambda *shape: random.randn(*shape),
        "verbose": -9,
        "popsize": size,
        "bounds": [[0] * cube.dimensions, [1] * cube.dimensions],
        "BoundaryHandler": cma.BoundTransform,
        "CMA_mirrors": 0,
    }
    strategy = cma.CMAEvolutionStrategy(cube.dimensions * [0.5], 0.25, options)
    proposed: list[dict[str, Any]] = []
    while len(proposed) < n:
        points = []
        for number in range(len(proposed), len(proposed) + size):
            bits = np.random.MT19937(np.random.SeedSequence([9, number]))
            random = np.random.RandomState(bits)
            points.append(strategy.ask(1)[0])
        params = [cube.decode(point) for point in points]
        middles = [cube.encode(p) for p in params]
        told = np.where([name in BINNED for name in cube.names], middles, points)
        strategy.tell(list(told), [value(len(proposed) + i, p) for i, p in enumerate(params)])
        proposed += params
    return proposed[:n]


@pytest.mark.parametrize("names", [["learning_rate", "momentum"], list(SPACE), [*BINNED, "learning_rate"]])
@pytest.mark.parametrize("maximize", [False, True])
def test_replay_equals_the_uninterrupted_optimizer(names: list[str], maximize: bool) -> None:
    space = {name: (SPACE | BINNED)[name] for name in names}
    twin = stateful_twin(space, lambda _, params: loss(params), size=6, n=48)
    study = optuna.create_study(direction="maximize" if maximize else "minimize")
    for expected in twin:
        study.sampler = PyCmaSampler(search_space=space, population_size=6, seed=9)
        trial = study.ask(space)
        assert trial.params == expected
        study.tell(trial, -loss(trial.params) if maximize else loss(trial.params))


def test_a_failed_trial_is_the_worst_of_its_generation() -> None:
    """Failed, diverged and infinite trials are what a twin learns from an enormous value."""

    def value(number: int, params: dict[str, Any]) -> float:
        return 1e9 if number % 5 == 0 else loss(params)

    twin = stateful_twin(SPACE, value, size=6, n=42)
    study = optuna.create_study(sampler=PyCmaSampler(search_space=SPACE, population_size=6, seed=9))
    for number, expected in enumerate(twin):
        trial = study.ask(SPACE)
        assert trial.params == expected
        if number % 5:
            study.tell(trial, loss(trial.params))
        else:
            study.tell(trial, *[(None, TrialState.FAIL), (-math.inf, None), (math.inf, None)][number % 3])


def test_the_memo_is_only_a_speed_up() -> None:
    warm = optuna.create_study(sampler=PyCmaSampler(search_space=SPACE))
    cold = optuna.create_study()
    for _ in range(40):
        cold.sampler = PyCmaSampler(search_space=SPACE)
        trials = warm.ask(SPACE), cold.ask(SPACE)
        assert trials[0].params == trials[1].params
        for study, trial in zip((warm, cold), trials, strict=True):
            study.tell(trial, loss(trial.params))


def test_one_parameter() -> None:
    space = {"learning_rate": SPACE["learning_rate"]}
    study = optuna.create_study(sampler=PyCmaSampler(search_space=space))
    for _ in range(80):
        trial = study.ask(space)
        study.tell(trial, loss(trial.params))
    assert study.best_params["learning_rate"] == pytest.approx(1e-3, rel=0.05)


def test_only_single_valued_parameters() -> None:
    space: dict[str, BaseDistribution] = {"x": IntDistribution(3, 3)}
    study = optuna.create_study(sampler=PyCmaSampler(search_space=space))
    assert study.ask(space).params == {"x": 3}


def test_the_first_generation_surrounds_the_initial_settings() -> None:
    initial = {"batch_size": 32, "learning_rate": 1e-5, "momentum": 0.9}
    sampler = PyCmaSampler(search_space=SPACE, initial=initial, sigma0=0.01, population_size=20)
    study = optuna.create_study(sampler=sampler)
    cube = UnitCube(SPACE)
    points = np.array([cube.encode(study.ask(SPACE).params) for _ in range(20)])
    assert np.abs(points - cube.encode(initial)).max() < 0.05
    assert len(np.unique(points, axis=0)) == 20


@pytest.mark.parametrize(("dimensions", "size"), [(1, 4), (2, 6), (3, 7), (4, 8)])
def test_population_size_is_pycmas(dimensions: int, size: int) -> None:
    space: dict[str, BaseDistribution] = {f"x{i}": FloatDistribution(0.0, 1.0) for i in range(dimensions)}
    study = optuna.create_study(sampler=PyCmaSampler(search_space=space))
    for _ in range(size + 1):
        study.tell(study.ask(space), 0.0)
    assert [t.system_attrs[KEY]["generation"] for t in study.get_trials()] == [0] * size + [1]
    assert size == cma.CMAEvolutionStrategy(dimensions * [0.5], 0.25, {"verbose": -9, "seed": 1}).popsize


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sigma0": 0}, "sigma0 must be above 0 and at most 1, got 0"),
        ({"sigma0": math.nan}, "sigma0 must be above 0 and at most 1, got nan"),
        ({"population_size": 2}, "population_size must be an integer of at least 3, got 2"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        PyCmaSampler(**arguments)
    assert str(caught.value) == message


@pytest.mark.parametrize(("size", "count"), [(8, 3), (3, 9), (None, 9), (3, 0)])
def test_advises_against_few_generations(size, count):
    sampler = PyCmaSampler(search_space=SPACE, population_size=size)
    trials = count * (size or 7)  # pycma's own size in three dimensions
    shown = f"{count} generations of {size or 7}: CMA-ES adapts over tens of generations"
    assert sampler.advice([[4] * trials]) == shown
    assert sampler.advice([[4] * (10 * (size or 7) - 1)]) is not None
    assert sampler.advice([[4] * (10 * (size or 7))]) is None


def test_has_no_advice_where_nothing_is_searched():
    assert PyCmaSampler(search_space={"only": IntDistribution(3, 3)}).advice([[4]]) is None
