"""NSGA-II on two criteria of each trial's History."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, NSGAIISampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from hpo_gn.errors import ArgumentError
from hpo_gn.searchers._generations import complete_generations, recall, remember
from hpo_gn.searchers._two_criteria import Criteria, TwoCriteriaSampler
from hpo_gn.shown_study import shown_study
from hpo_gn.unit_cube import UnitCube

KEY = "hpo_gn:nsga_ii"
"""The system attribute with a trial's generation."""

FEW_GENERATIONS = 10
"""In fewer than these a population hardly leaves the random draws that it starts with."""


class SeededNSGAIISampler(TwoCriteriaSampler):
    """Optuna's `NSGAIISampler` (Deb et al. 2002), searching the Pareto front of two criteria, with random
    numbers from `[seed, trial.number]`.

    Optuna puts a trial into the generation that is not full at the moment, and keeps the parents that it
    found for one in the study. Here both follow from the trials: a generation is complete when
    `population_size` of its trials have finished, of which those that were completed are its population; a
    trial that finishes later does not count. So the parents never change, and are found anew.

    Args:
        search_space: as of `SeededSampler`.
        initial: the study's first trial; without it that is random, too.
        population_size: trials in a generation, at least 2.
        seed: as of `SeededSampler`.
        criteria: what is minimized, two numbers of a History; with None validation loss and AGN.

    Raises:
        ArgumentError: an argument breaks its rule.
    """

    def __init__(
        self,
        *,
        search_space: Mapping[str, BaseDistribution] | None = None,
        initial: Mapping[str, Any] | None = None,
        population_size: int = 8,
        seed: int = 0,
        criteria: Criteria | None = None,
    ) -> None:
        super().__init__(search_space=search_space, initial=initial, seed=seed, criteria=criteria)
        if population_size < 2:
            raise ArgumentError("population_size", "an integer of at least 2", population_size)
        self.population_size = population_size

    def multi_objective(self, seed: int) -> BaseSampler:
        """A fresh `optuna.samplers.NSGAIISampler`."""
        return _NSGAII(population_size=self.population_size, seed=seed)

    def propose(self, study: Study, trial: FrozenTrial, cube: UnitCube) -> dict[str, Any]:
        """A child of the last complete generation's parents; random parameters in the first generation."""
        generations = complete_generations(recall(study, KEY, cube), self.population_size)
        remember(study, trial, KEY, cube, generation=len(generations))
        born = {each.number: number for number, members in enumerate(generations) for each in members}
        told = shown_study(study, lambda trials: [_in(each, born.get(each.number)) for each in trials])
        return super().propose(told, _in(trial, len(generations)), cube)

    def advice(self, rounds: Sequence[Sequence[int]]) -> str | None:
        """Why a search of those rounds, each trial's epochs, makes no sense; None if it does."""
        count = sum(map(len, rounds)) // self.population_size
        if count >= FEW_GENERATIONS:
            return None
        return f"{count} generations of {self.population_size}: NSGA-II selects over tens of generations"


class _NSGAII(NSGAIISampler):
    """Optuna's, of which the trial and the earlier generations know their generation."""

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        parents: list[FrozenTrial] = []
        # One after another: Optuna's own way back to the first generation is a recursion.
        for generation in range(self.get_trial_generation(study, trial) + 1):
            parents = self.get_parent_population(study, generation)
        # Its crossover needs two.
        return super().sample_relative(study, trial, search_space) if len(parents) > 1 else {}


def _in(trial: FrozenTrial, generation: int | None) -> FrozenTrial:
    """The trial as Optuna would have marked it: in a generation, or in none."""
    if generation is None:
        return trial
    marked = copy.copy(trial)
    marked.system_attrs = trial.system_attrs | {_NSGAII._get_generation_key(): generation}
    return marked
