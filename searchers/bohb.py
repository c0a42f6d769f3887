"""BOHB: successive halving over epochs, with configurations proposed by hpbandster's kernel densities."""

import threading
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from hpo_gn.errors import ArgumentError
from hpo_gn.fidelity import CONTINUES, EPOCHS, Assignment, epochs_of
from hpo_gn.searchers._bohb_model import DensityModel, require_hpbandster
from hpo_gn.searchers._brackets import CLAIM, Brackets, Claim, ranked
from hpo_gn.searchers._seeded import SeededSampler
from hpo_gn.unit_cube import UnitCube

PICK = "hpo_gn:bohb_pick"
"""The system attribute that says how a trial's configuration was found.

Its "pick" is "initial", "random", "model", "promoted", or "fallback" where hpbandster fell back to random.
"""

_CLAIMING = threading.Lock()


class BohbSampler(SeededSampler):
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
            completed trials have in common, and the parameters of the first trials are random.
        initial: the study's first configuration, complete where a search space is given.
        seed: what all random numbers are derived from, at least 0.
        min_epochs: the fewest epochs that a configuration is trained.
        max_epochs: the most.
        eta: the factor between the epochs of two rungs; a rung promotes one in `eta`.
        random_fraction: the share of new configurations that are random although there is a model, in [0, 1].

    Attributes:
        fallbacks: how many of this object's proposals hpbandster silently made at random despite a model.

    Raises:
        HpoGnError: hpbandster is not installed.
        ArgumentError: an argument breaks its rule.
        UnknownNameError: an initial parameter is not in the search space.
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
        super().__init__(search_space=search_space, initial=initial, seed=seed)
        if not 0 <= random_fraction <= 1:
            raise ArgumentError("random_fraction", "from 0 to 1", random_fraction)
        self.fallbacks = 0
        self._brackets = Brackets(min_epochs, max_epochs, eta)
        self._random_fraction = random_fraction
        self._memo: tuple[object, DensityModel] | None = None
        require_hpbandster()

    def next_assignment(self, study: Study) -> Assignment:
        """What the next `study.ask()` will assign, as long as no trial starts or finishes before it.

        Raises:
            ValueError: the study has several objectives.
        """
        claim = self._peek(study)
        return Assignment(self._brackets.epochs(claim), claim.parent)

    def fits(self, study: Study, epochs_left: int, *, from_scratch: bool = False) -> bool:
        """Whether to ask for the next trial with so many epochs left to hold.

        Asking for many trials at once opens brackets ahead of time. To end with the schedule that one trial
        after another makes, no new bracket may take the epochs that promotions in open ones will need.

        Args:
            study: the study.
            epochs_left: epochs that neither finished trials have spent nor running ones hold.
            from_scratch: whether a promoted configuration runs all its epochs, not only those it adds.

        Raises:
            ValueError: the study has several objectives.
        """
        trials = study._get_trials(deepcopy=False)
        return self._brackets.fits(
            self._peek(study), trials, study.direction, epochs_left, from_scratch=from_scratch
        )

    def schedule_state(self, study: Study) -> tuple[object, ...]:
        """What the epochs of the trials to come depend on, beside the epochs left and as long as none fails:
        where it comes back, the schedule repeats itself.
        """
        return self._brackets.state(study._get_trials(deepcopy=False), study.direction)

    def advice(self, rounds: Sequence[Sequence[int]]) -> str | None:
        """Why a search of those rounds, each trial's epochs, makes no sense; None if it does."""
        results = Counter(epochs for finished in rounds[:-1] for epochs in finished)
        most, needed = max(results.values(), default=0), self._results_for_model
        if needed and most < needed:
            return (
                f"all configurations are random: the model takes {needed} results of the same epochs, and at "
                f"most {most} come before the last round"
            )
        trials = Counter(epochs for proposed in rounds for epochs in proposed)
        rungs = dict(zip(self._brackets.rungs, self._brackets.sizes(0), strict=True))
        if any(trials[epochs] < size for epochs, size in rungs.items()):
            shown = ", ".join(f"{size} of {epochs} epochs" for epochs, size in rungs.items())
            return f"the budget does not pay one full bracket, which has trials {shown}"
        return None

    @property
    def _results_for_model(self) -> int:
        """hpbandster's densities of good and of bad results each need one more than there are axes."""
        if self.search_space is None:
            return 0
        return 2 * (UnitCube(self.search_space).dimensions + 1)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Fill the next slot of the schedule with the trial and give it the slot's epochs."""
        if study._is_multi_objective():
            return  # Raising here would leave the trial running for ever; sampling raises.
        if self._brackets.claim_of(trial) is not None:
            return  # A trial that is taken up again in another process keeps its slot.
        with _CLAIMING:
            trials = study._get_trials(deepcopy=False)
            others = trials[: trial.number] + trials[trial.number + 1 :]
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
        return super().infer_relative_search_space(study, trial)

    def propose(self, study: Study, trial: FrozenTrial, cube: UnitCube) -> dict[str, Any]:
        """The parameters of the promoted trial, the initial ones, random ones, or the model's."""
        params, pick = self._pick(study, trial, cube)
        self.fallbacks += pick == "fallback"
        _set_system_attr(study, trial, PICK, {"trial": trial.number, "pick": pick})
        return params

    def _pick(self, study: Study, trial: FrozenTrial, cube: UnitCube) -> tuple[dict[str, Any], str]:
        if (parent := self._parent(study, trial)) is not None:
            return {name: parent.params[name] for name in cube.distributions}, "promoted"
        if trial.number == 0 and self.initial is not None:
            return cube.decode(self.start(cube)), "initial"
        state = self.random_state(trial.number)
        if not cube.dimensions or state.random_sample() < self._random_fraction:
            return _random(cube, state), "random"
        model = self._model(study, cube)
        if not model.fitted:
            return _random(cube, state), "random"
        proposed = model.propose(state)
        return (_random(cube, state), "fallback") if proposed is None else (proposed, "model")

    def _model(self, study: Study, cube: UnitCube) -> DensityModel:
        results: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for trial in ranked(study._get_trials(deepcopy=False), study.direction):
            if _fits(cube, trial):
                results[epochs_of(trial, self._brackets.max_epochs)].append(trial.params)
        key = (cube.distributions, dict(results))
        if (memo := self._memo) is None or memo[0] != key:
            memo = self._memo = (key, DensityModel(cube, results))
        return memo[1]

    def _peek(self, study: Study) -> Claim:
        self._raise_error_if_multi_objective(study)
        trials = study._get_trials(deepcopy=False)
        unfinished = self._brackets.unfinished(trials)
        waiting = next((trial for trial in unfinished if trial.state is TrialState.WAITING), None)
        return self._next_claim(study, trials, fresh=waiting is not None and _is_fixed(waiting))

    def _next_claim(self, study: Study, trials: Sequence[FrozenTrial], *, fresh: bool) -> Claim:
        return self._brackets.next_claim(trials, study.direction, fresh=fresh)

    def _parent(self, study: Study, trial: FrozenTrial) -> FrozenTrial | None:
        claim = self._brackets.claim_of(trial)
        if claim is None or claim.parent is None:
            return None
        return study._get_trials(deepcopy=False)[claim.parent]


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


def _random(cube: UnitCube, state: np.random.RandomState) -> dict[str, Any]:
    return cube.decode(state.random_sample(cube.dimensions))


def _set_user_attr(study: Study, trial: FrozenTrial, key: str, value: Any) -> None:
    study._storage.set_trial_user_attr(trial._trial_id, key, value)
    trial.user_attrs[key] = value


def _set_system_attr(study: Study, trial: FrozenTrial, key: str, value: Any) -> None:
    study._storage.set_trial_system_attr(trial._trial_id, key, value)
    trial.system_attrs[key] = value
