"""hpbandster's densities, rebuilt from results, against its own generator fed one result at a time."""

import logging
import random
import sys
import warnings
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from hpo_gn.errors import HpoGnError
from hpo_gn.searchers._bohb_model import DensityModel, require_hpbandster
from hpo_gn.unit_cube import UnitCube

pytestmark = pytest.mark.skipif(find_spec("hpbandster") is None, reason="hpbandster is not installed")

GENERATOR = "hpbandster.optimizers.config_generators.bohb"
MIXED: dict[str, BaseDistribution] = {
    "rate": FloatDistribution(1e-7, 0.5, log=True),
    "units": IntDistribution(1, 1000, log=True),
    "depth": IntDistribution(2, 10, step=2),
    "share": FloatDistribution(0.0, 1.0, step=0.25),
    "kind": CategoricalDistribution(["sgd", None, True, 3]),
    "only": CategoricalDistribution(["one"]),
}


def drawn(cube: UnitCube, count: int, seed: int = 0) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    return [cube.decode(rng.random(cube.dimensions)) for _ in range(count)]


def state(seed: int) -> np.random.RandomState:
    return np.random.RandomState(seed)


def test_the_model_is_that_of_hpbandster_fed_in_order_of_time() -> None:
    """Rebuilt from the most epochs' ranks, the densities are those of a generator that saw everything."""
    from ConfigSpace import ConfigurationSpace
    from hpbandster.core.dispatcher import Job

    cube = UnitCube({"a": FloatDistribution(0.0, 1.0), "b": FloatDistribution(0.0, 1.0)})
    rng = np.random.default_rng(1)
    runs = [(epochs, params, rng.random()) for epochs in (40, 80) for params in drawn(cube, 20, epochs)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = import_module(GENERATOR).BOHB(ConfigurationSpace({"a": (0.0, 1.0), "b": (0.0, 1.0)}))
        for index in rng.permutation(len(runs)):
            epochs, params, loss = runs[index]
            job = Job(index, config=params, budget=epochs)
            job.result = {"loss": loss}
            theirs.new_result(job)
    results = {
        epochs: [params for e, params, _ in sorted(runs, key=lambda run: run[2]) if e == epochs]
        for epochs in (40, 80)
    }
    ours = DensityModel(cube, results)._generator
    assert list(ours.kde_models) == [80] == [theirs.largest_budget_with_model()]
    for side in ("good", "bad"):
        np.testing.assert_allclose(
            ours.kde_models[80][side].data, theirs.kde_models[80][side].data, atol=1e-12
        )
        np.testing.assert_allclose(ours.kde_models[80][side].bw, theirs.kde_models[80][side].bw, rtol=1e-9)


@pytest.mark.parametrize(("count", "fitted"), [(0, False), (5, False), (6, True)])
def test_two_parameters_need_three_good_and_three_bad_results(count: int, fitted: bool) -> None:
    cube = UnitCube({"a": FloatDistribution(0.0, 1.0), "b": IntDistribution(0, 9)})
    assert DensityModel(cube, {40: drawn(cube, count), 160: drawn(cube, 2)}).fitted is fitted


def test_every_proposal_is_plain_and_within_its_distribution() -> None:
    cube = UnitCube(MIXED)
    model = DensityModel(cube, {40: drawn(cube, 60)})
    for number in range(60):
        proposed = model.propose(state(number))
        assert proposed is not None
        assert proposed.keys() == MIXED.keys()
        for name, value in proposed.items():
            distribution = MIXED[name]
            assert type(value) in (float, int, str, bool, type(None))
            assert distribution._contains(distribution.to_internal_repr(value))


@pytest.mark.parametrize("corner", ["low", "high"])
def test_results_at_the_bounds_are_learnt_from(corner: str) -> None:
    space: dict[str, BaseDistribution] = {
        "a": FloatDistribution(1e-7, 0.3, log=True),
        "b": FloatDistribution(-0.1, 0.7),
        "c": IntDistribution(1, 1000, log=True),
    }
    cube = UnitCube(space)
    bound = {name: getattr(distribution, corner) for name, distribution in space.items()}
    model = DensityModel(cube, {40: [bound] * 5 + drawn(cube, 15)})
    assert all(model.propose(state(number)) is not None for number in range(20))


def test_proposals_come_from_near_the_good_results() -> None:
    cube = UnitCube({"x": FloatDistribution(0.0, 1.0), "kind": CategoricalDistribution(["a", "b"])})
    ordered = sorted(drawn(cube, 60), key=lambda params: abs(params["x"] - 0.7) + (params["kind"] == "b"))
    model = DensityModel(cube, {40: ordered})
    proposed = [model.propose(state(number)) for number in range(30)]
    assert sum(p is not None and abs(p["x"] - 0.7) < 0.2 for p in proposed) > 25
    assert sum(p is not None and p["kind"] == "a" for p in proposed) > 25


def test_a_proposal_is_a_function_of_the_results_and_the_given_state_alone() -> None:
    cube = UnitCube(MIXED)
    results = {40: drawn(cube, 30)}
    first = DensityModel(cube, results).propose(state(37))
    np.random.seed(1)
    assert DensityModel(cube, results).propose(state(37)) == first
    assert DensityModel(cube, results).propose(state(38)) != first


def test_global_random_numbers_loggers_and_warning_filters_stay_as_they_were() -> None:
    def snapshot() -> tuple[Any, ...]:
        root, theirs = logging.getLogger(), logging.getLogger("hpbandster")
        numbers = np.random.get_state(legacy=True)
        handlers = (list(root.handlers), root.level, list(theirs.handlers))
        return (
            numbers[1].tolist(),
            numbers[2],
            random.getstate(),
            handlers,
            list(warnings.filters),
            np.geterr(),
        )

    before = snapshot()
    cube = UnitCube(MIXED)
    assert DensityModel(cube, {40: drawn(cube, 30)}).propose(state(0)) is not None
    assert snapshot() == before


def test_a_silent_fallback_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> float:
        raise FloatingPointError

    cube = UnitCube({"x": FloatDistribution(0.0, 1.0)})
    model = DensityModel(cube, {40: drawn(cube, 30)})
    with monkeypatch.context() as patch:
        patch.setattr(import_module(GENERATOR).sps.truncnorm, "rvs", broken)
        assert model.propose(state(0)) is None
    assert model.propose(state(0)) is not None


def test_a_fallback_after_the_proposal_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """hpbandster calls a configuration that it could not convert model-based, and returns a random one."""
    cube = UnitCube({"x": FloatDistribution(0.0, 1.0)})
    model = DensityModel(cube, {40: drawn(cube, 30)})
    util = import_module("ConfigSpace.util")
    convert, calls = util.deactivate_inactive_hyperparameters, iter([False, True])

    def breaks_the_second_time(**arguments: Any) -> Any:
        if next(calls):
            raise ValueError("cannot convert")
        return convert(**arguments)

    monkeypatch.setattr(util, "deactivate_inactive_hyperparameters", breaks_the_second_time)
    assert model.propose(state(0)) is None


def test_without_hpbandster_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, GENERATOR, None)
    with pytest.raises(HpoGnError, match=r"^bohb needs hpbandster: pip install 'hpo_gn\[bohb\]' \(.*\)$"):
        require_hpbandster()
