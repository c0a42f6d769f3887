"""hpbandster's BOHB as it comes, its iterations and its generator driven in process, without its servers."""

import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
from ConfigSpace import CategoricalHyperparameter, ConfigurationSpace, UniformIntegerHyperparameter
from optuna.distributions import BaseDistribution, CategoricalDistribution
from scipy.special import ndtr, ndtri

from benchmarks.searchers.evaluations import Evaluations
from benchmarks.searchers.tables import Table

ETA = 2


def hpbandster_bohb(table: Table, seed: int, evaluations: Evaluations) -> None:
    """Its brackets from 1 repeat to all, one configuration after another."""
    from hpo_gn.searchers._global_random import global_random

    with (
        warnings.catch_warnings(),
        np.errstate(all="ignore"),
        global_random(np.random.RandomState(seed)),
        quick_normals(),
    ):
        warnings.simplefilter("ignore")
        _drive(table, seed, evaluations)


@contextmanager
def quick_normals() -> Iterator[None]:
    """hpbandster's truncated normal numbers from one uniform number each, as scipy makes them, but without
    the 0.2 ms of overhead that scipy takes for each of 64 × parameters in a proposal.
    """
    module: Any = importlib.import_module("hpbandster.optimizers.config_generators.bohb")
    before = module.sps
    module.sps = SimpleNamespace(truncnorm=SimpleNamespace(rvs=truncated_normal))
    try:
        yield
    finally:
        module.sps = before


def truncated_normal(a: float, b: float, loc: float, scale: float) -> float:
    """What `scipy.stats.truncnorm.rvs` gives from numpy's global random numbers, for a ≤ 0 ≤ b."""
    low, high = ndtr(a), ndtr(b)
    return float(loc + scale * ndtri(low + np.random.uniform() * (high - low)))


def _drive(table: Table, seed: int, evaluations: Evaluations) -> None:
    from hpbandster.core.dispatcher import Job
    from hpbandster.optimizers.bohb import BOHB
    from hpbandster.optimizers.config_generators.bohb import BOHB as Generator  # noqa: N811  # two classes of one name

    generator = Generator(configspace(table, seed), logger=_silent())
    rungs = table.repeats.bit_length()
    budgets = np.array([float(ETA**rung) for rung in range(rungs)])
    master = SimpleNamespace(max_SH_iter=rungs, eta=ETA, budgets=budgets, config_generator=generator)
    for number in range(10**6):
        iteration = BOHB.get_next_iteration(master, number, {"logger": _silent()})
        while (run := iteration.get_next_run()) is not None:
            name, config, budget = run
            job = Job(name, config=config, budget=budget)
            job.result = {"loss": evaluations.evaluate(config, int(budget))}
            iteration.register_result(job)
            generator.new_result(job)


def configspace(table: Table, seed: int) -> ConfigurationSpace:
    """The table's parameters as ConfigSpace has them: integers, and categories."""
    space = ConfigurationSpace(seed=seed)
    space.add(*(_hyperparameter(name, each) for name, each in table.distributions.items()))
    return space


def _hyperparameter(name: str, distribution: BaseDistribution) -> Any:
    if isinstance(distribution, CategoricalDistribution):
        return CategoricalHyperparameter(name, list(distribution.choices))
    return UniformIntegerHyperparameter(name, distribution.low, distribution.high)


def _silent() -> SimpleNamespace:
    return SimpleNamespace(debug=lambda *_: None, info=lambda *_: None, warning=lambda *_: None)
