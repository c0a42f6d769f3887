"""BOHB: successive halving over epochs, with configurations proposed by hpbandster's kernel densities."""

import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.search_space import intersection_search_space
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from hpo_gn.errors import ArgumentError
from hpo_gn.fidelity import CONTINUES, EPOCHS, Assignment, epochs_of
from hpo_gn.searchers._bohb_model import DensityModel, require_hpbandster
from hpo_gn.searchers._brackets import CLAIM, Brackets, Claim, ranked
from hpo_gn.unit_cube import UnitCube

PICK = "hpo_gn:bohb_pick"
"""The system attribute that says how a trial's configuration was found.

Its "pick" is "initial", "random", "model", "promoted", or "fallback" where hpbandster fell back to random.
"""

_CLAIMING = threading.Lock()


class BohbSampler(BaseSampler):
    """BOHB (Falkner et al. 2018) on hpbandster's density model, in any study, without hpbandster's servers.

    The sampler gives each trial its epochs, which the objective reads::

        def objective(trial):
            epochs = epochs_of(trial, default=160)
            learning_rate = trial.suggest_float("learning_rate", 1e-5, 0.5, log=True)
            return train(learning_rate, epochs)

        sampler = BohbSampler(min_epochs=40, max_epochs=160, eta=2)
        optuna.create_study(sampler=sampler).optimize(objective, n_trials=52)

    A promoted configuration is a new trial with the same parameters and more epochs, which can go on from the
    checkpoint of trial number `fidelity.continues(trial)`. Brackets, rungs and promotions follow from the
    study's trials, and random numbers from `[seed, trial.number]`: a study resumes exactly. A trial that
    fails, or whose value is not finite, is never promoted and teaches the model nothing; a pruned one counts
    with its value. While a bracket waits for trials that run, the next trial opens the next bracket.

    Other threads that draw from numpy's global random numbers at the moment of a proposal see a seeded
    generator: hpbandster knows no other. It is put back afterwards.

    Args:
        search_space: the distributions of the parameters that the model proposes. Without it, those that all
            finished trials have in common, and the parameters of the first trials are random.
        initial: the first trial's parameters, by name; those not given are random.
        seed: what all random numbers are derived from, at least 0.
        min_epochs: the fewest epochs that a configuration is trained.
        max_epochs: the most.
        eta: the factor between the epochs of two rungs, and the part of a rung that is not promoted.
        random_fraction: the share of new configurations that are random although there is a model, in [0, 1].

    Attributes:
        fallbacks: how many of this object's proposals hpbandster silently made at random despite a model.

    Raises:
        HpoGnError: hpbandster is not installed.
        ArgumentError: an argument breaks its rule.
    """

    def __init__(
        self,
        *,
        search_space: Mapping[str, BaseDistribution] | None = None,
        initial: Mapping[str, Any] | None = None,
        seed: int = 0,
        min_epochs: int = 1,
        max_epochs: int = 160,
        eta: int = 2,
        random_fraction: float = 1 / 3,
    ) -> None:
        if type(seed) is not int or seed < 0:
            raise ArgumentError("seed", "an integer of at least 0", seed)
        if not 0 <= random_fraction <= 1:
            raise ArgumentError("random_fraction", "from 0 to 1", random_fraction)
        self.fallbacks = 0
        self._brackets = Brackets(min_epochs, max_epochs, eta)
        self._search_space = None if search_space is None else dict(search_space)
        self._initial = dict(initial or {})
        self._seed = seed
        self._random_fraction = random_fraction
        self._memo: tuple[object, DensityModel] | None = None
        for name, distribution in (search_space or {}).items():
            if name in self._initial:
                self._initial_value(name, distribution)
        require_hpbandster()

    def next_assignment(self, study: Study) -> Assignment:
        """What the next `study.ask()` will assign, as long as no trial starts or finishes before it.

        Raises:
            ValueError: the study has several objectives.
        """
        self._raise_error_if_multi_objective(study)
        trials = study._get_trials(deepcopy=False)
        waiting = next((trial for trial in trials if trial.state is TrialState.WAITING), None)
        claim = self._next_claim(study, trials, fresh=waiting is not None and _is_fixed(waiting))
        return Assignment(self._brackets.epochs(claim), claim.parent)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Fill the next slot of the schedule with the trial and give it the slot's epochs."""
        if study._is_multi_objective():
            return  # Raising here would leave the trial running for ever; sampling raises.
        with _CLAIMING:
            others = [other for other in study._get_trials(deepcopy=False) if other.number != trial.number]
            claim = self._next_claim(study, others, fresh=_is_fixed(trial))
            _set_user_attr(study, trial, EPOCHS, self._brackets.epochs(claim))
            # A retried trial comes with a copy of its predecessor's attributes.
            if claim.parent is not None or CONTINUES in trial.user_attrs:
                _set_user_attr(study, trial, CONTINUES, claim.parent)
            _set_system_attr(study, trial, CLAIM, self._brackets.as_json(claim, trial))

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """The distributions of the parameters that are proposed together; a promoted trial's own."""
        if (parent := self._parent(study, trial)) is not None:
            return dict(parent.distributions)
        if self._search_space is not None:
            return dict(self._search_space)
        return intersection_search_space(study._get_trials(deepcopy=False), include_pruned=True)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The parameters of the promoted trial, the initial ones, or a proposal of the model.

        Raises:
            ValueError: the study has several objectives.
            ArgumentError: an initial value is outside its distribution.
        """
        self._raise_error_if_multi_objective(study)
        if not search_space:
            return {}
        if (parent := self._parent(study, trial)) is not None:
            params, pick = dict(parent.params), "promoted"
        elif self._is_first(trial) and self._initial.keys() & search_space.keys():
            params, pick = self._start(trial, search_space), "initial"
        else:
            params, pick = self._propose(study, trial, UnitCube(search_space))
        self.fallbacks += pick == "fallback"
        _set_system_attr(study, trial, PICK, {"trial": trial.number, "pick": pick})
        return params

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        """A value drawn uniformly from `[seed, trial.number, name]`; in the first trial the initial one.

        Raises:
            ValueError: the study has several objectives.
            ArgumentError: the initial value is outside the distribution.
        """
        self._raise_error_if_multi_objective(study)
        if self._is_first(trial) and param_name in self._initial:
            return self._initial_value(param_name, param_distribution)
        rng = np.random.default_rng([self._seed, trial.number, *param_name.encode()])
        return _random(UnitCube({param_name: param_distribution}), rng)[param_name]

    def _next_claim(self, study: Study, trials: Sequence[FrozenTrial], *, fresh: bool) -> Claim:
        return self._brackets.next_claim(trials, study.direction, fresh=fresh)

    def _parent(self, study: Study, trial: FrozenTrial) -> FrozenTrial | None:
        claim = self._brackets.claim_of(trial)
        if claim is None or claim.parent is None:
            return None
        return next(t for t in study._get_trials(deepcopy=False) if t.number == claim.parent)

    def _is_first(self, trial: FrozenTrial) -> bool:
        return self._brackets.claim_of(trial) == Claim(bracket=0, rung=0, slot=0)

    def _initial_value(self, name: str, distribution: BaseDistribution) -> Any:
        UnitCube({name: distribution}).encode(self._initial)
        return self._initial[name]

    def _start(self, trial: FrozenTrial, search_space: Mapping[str, BaseDistribution]) -> dict[str, Any]:
        drawn = _random(UnitCube(search_space), np.random.default_rng([self._seed, trial.number]))
        given = self._initial.keys() & search_space.keys()
        return drawn | {name: self._initial_value(name, search_space[name]) for name in given}

    def _propose(self, study: Study, trial: FrozenTrial, cube: UnitCube) -> tuple[dict[str, Any], str]:
        rng = np.random.default_rng([self._seed, trial.number])
        if not cube.dimensions or rng.random() < self._random_fraction:
            return _random(cube, rng), "random"
        model = self._model(study, cube)
        if not model.fitted:
            return _random(cube, rng), "random"
        proposed = model.propose([self._seed, trial.number])
        return (_random(cube, rng), "fallback") if proposed is None else (proposed, "model")

    def _model(self, study: Study, cube: UnitCube) -> DensityModel:
        results: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for trial in ranked(study._get_trials(deepcopy=False), study.direction):
            if _fits(cube, trial):
                results[epochs_of(trial, self._brackets.max_epochs)].append(trial.params)
        key = (cube.distributions, dict(results))
        if (memo := self._memo) is None or memo[0] != key:
            memo = self._memo = (key, DensityModel(cube, results))
        return memo[1]


def _is_fixed(trial: FrozenTrial) -> bool:
    """Whether a trial's parameters are given: it was enqueued, or retries another."""
    return bool(trial.params) or "fixed_params" in trial.system_attrs


def _fits(cube: UnitCube, trial: FrozenTrial) -> bool:
    """Whether a trial has a value within its range for every axis of the cube."""
    try:
        cube.encode(trial.params)
    except ArgumentError:
        return False
    return True


def _random(cube: UnitCube, rng: np.random.Generator) -> dict[str, Any]:
    return cube.decode(rng.random(cube.dimensions))


def _set_user_attr(study: Study, trial: FrozenTrial, key: str, value: Any) -> None:
    study._storage.set_trial_user_attr(trial._trial_id, key, value)
    trial.user_attrs[key] = value


def _set_system_attr(study: Study, trial: FrozenTrial, key: str, value: Any) -> None:
    study._storage.set_trial_system_attr(trial._trial_id, key, value)
    trial.system_attrs[key] = value
