"""The searchers by name, each a function of a table, a seed and what it may spend."""

import importlib.util
from collections.abc import Callable, Mapping
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, CmaEsSampler, RandomSampler, TPESampler

from benchmarks.searchers.evaluations import Evaluations
from benchmarks.searchers.tables import Table

Contestant = Callable[[Table, int, Evaluations], None]
"""Evaluates until `Spent` is raised."""


def contestants() -> dict[str, Contestant]:
    """Those whose libraries are installed here."""
    found: dict[str, Contestant] = {}
    if _installed("torch"):
        found |= {
            "random": _ours("random:SeededRandomSampler"),
            "cma-es": _ours("cma_es:PyCmaSampler"),
            "particle-swarm": _ours("particle_swarm:ParticleSwarmSampler"),
            "tpe": _ours("tpe:SeededTPESampler"),
        }
    found |= {
        "optuna random": lambda *run: _optimize(RandomSampler(seed=run[1]), run[0].distributions, run[2]),
        "optuna tpe": lambda *run: _optimize(TPESampler(seed=run[1]), run[0].distributions, run[2]),
    }
    if _installed("cmaes"):
        found |= {
            "optuna cma-es": lambda *run: _optimize(_cma_es(run[1]), run[0].distributions, run[2]),
            "optuna cma-es, ordinal": lambda *run: _optimize(_cma_es(run[1]), run[0].ordinals, run[2]),
        }
    if _installed("hpbandster"):
        from benchmarks.searchers.hpbandster_bohb import hpbandster_bohb

        found |= {"bohb": _bohb(1 / 3), "hyperband": _bohb(1.0), "hpbandster bohb": hpbandster_bohb}
    if _installed("smac"):
        from benchmarks.searchers.peers import smac3

        found["smac3"] = smac3
    if _installed("dehb"):
        from benchmarks.searchers.peers import dehb

        found["dehb"] = dehb
    return found


def _ours(path: str) -> Contestant:
    module, name = path.split(":")

    def run(table: Table, seed: int, evaluations: Evaluations) -> None:
        sampler = getattr(importlib.import_module(f"hpo_gn.searchers.{module}"), name)
        _optimize(sampler(search_space=table.distributions, seed=seed), table.distributions, evaluations)

    return run


def _bohb(random_fraction: float) -> Contestant:
    """Our BOHB with its own share of random configurations; with 1 it is Hyperband."""

    def run(table: Table, seed: int, evaluations: Evaluations) -> None:
        from benchmarks.searchers.hpbandster_bohb import quick_normals
        from hpo_gn.searchers.bohb import BohbSampler

        sampler = BohbSampler(
            search_space=table.distributions,
            seed=seed,
            max_epochs=table.repeats,
            random_fraction=random_fraction,
        )
        with quick_normals():
            _optimize(sampler, table.distributions, evaluations)

    return run


def _cma_es(seed: int) -> CmaEsSampler:
    return CmaEsSampler(seed=seed, warn_independent_sampling=False)


def _optimize(
    sampler: BaseSampler, distributions: Mapping[str, BaseDistribution], evaluations: Evaluations
) -> None:
    study = optuna.create_study(sampler=sampler)
    while True:
        trial = study.ask(dict(distributions))
        study.tell(trial, evaluations.evaluate(trial.params, _repeats(trial)))


def _repeats(trial: optuna.Trial) -> int | None:
    """What a sampler that knows fidelities gives a trial, as `hpo_gn.fidelity.EPOCHS`."""
    repeats: Any = trial.user_attrs.get("hpo_gn:epochs")
    return repeats


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
