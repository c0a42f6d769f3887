"""Searches stopped after every trial: a new sampler on the trials so far proposes what the old one did."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from hpo_gn.registry import load

SPACE: dict[str, BaseDistribution] = {
    "learning_rate": FloatDistribution(1e-5, 1.0, log=True),
    "momentum": FloatDistribution(0.0, 0.99),
    "batch_size": IntDistribution(16, 512, log=True),
    "optimizer": CategoricalDistribution(["sgd", "adam"]),
}
SETTINGS: dict[str, dict[str, Any]] = {
    "cma-es": {"population_size": 4},
    "particle-swarm": {"particles": 4},
    "bohb": {"min_epochs": 1, "max_epochs": 9, "eta": 3},
}
"""Of each searcher: small, so that 50 trials are many generations, iterations and brackets."""

MakeSampler = Callable[[int], BaseSampler]


@dataclass(frozen=True)
class Sizes:
    """How much of everything; the defaults are the long form's."""

    trials: int = 50
    seeds: int = 20


SHORT = Sizes(trials=24, seeds=1)


def of_searcher(name: str) -> MakeSampler:
    """Makes a searcher's sampler from a seed."""
    return partial(_make, name)


def _make(name: str, seed: int) -> BaseSampler:
    sampler = load("searcher", name)(search_space=SPACE, seed=seed, **SETTINGS[name])
    assert isinstance(sampler, BaseSampler)
    return sampler


def differences(make: MakeSampler, seed: int, trials: int) -> int:
    """How many of the proposals after a stop are not, bit for bit, the uninterrupted search's."""
    whole = _study(make(seed))
    for _ in range(trials):
        _tell(whole, whole.ask(SPACE))
    ran = whole.get_trials()
    proposed = [_proposal(trial) for trial in ran]
    assert len({str(each) for each in proposed}) > trials / 2, "a search that proposes the same all the time"
    return sum(_next(make(seed), ran[:stop]) != proposed[stop] for stop in range(trials))


def _next(sampler: BaseSampler, before: list[FrozenTrial]) -> str:
    """What a new sampler proposes after the trials of a search that was stopped."""
    study = _study(sampler)
    study.add_trials(before)
    study.ask(SPACE)
    return _proposal(study.get_trials()[-1])


def _study(sampler: BaseSampler) -> optuna.Study:
    return optuna.create_study(sampler=sampler)


def _proposal(trial: FrozenTrial) -> str:
    """All that a sampler says of a trial; JSON writes every bit of a number."""
    return json.dumps([trial.number, trial.params, trial.user_attrs, trial.system_attrs], sort_keys=True)


def _tell(study: optuna.Study, trial: optuna.Trial) -> None:
    """End a trial with a value; some fail, some diverge, some are pruned."""
    rate, momentum = trial.params["learning_rate"], trial.params["momentum"]
    value = math.log10(rate) ** 2 + momentum + math.log(trial.params["batch_size"])
    match trial.number % 7:
        case 3:
            study.tell(trial, state=TrialState.FAIL)
        case 5:
            study.tell(trial, math.inf)
        case 6:
            trial.report(value, step=1)
            study.tell(trial, state=TrialState.PRUNED)
        case _:
            study.tell(trial, value)


def figures(*, long: bool) -> dict[str, str]:
    """What the scenario gives, as text."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sizes = Sizes() if long else SHORT
    found = {}
    for name in SETTINGS:
        wrong = sum(differences(of_searcher(name), seed, sizes.trials) for seed in range(sizes.seeds))
        what = f"{name}: stopped after each of {sizes.trials} trials, {sizes.seeds} seeds"
        found[what] = f"{wrong} of {sizes.trials * sizes.seeds} proposals differ"
    return found
