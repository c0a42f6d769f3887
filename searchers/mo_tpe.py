"""Multi-objective TPE on two criteria of each trial's History."""

from collections.abc import Sequence

from optuna.samplers import BaseSampler, TPESampler

from hpo_gn.searchers._two_criteria import TwoCriteriaSampler
from hpo_gn.searchers.tpe import SeededTPESampler


class MultiObjectiveTPESampler(TwoCriteriaSampler):
    """Optuna's `TPESampler`, as it comes, searching the Pareto front of two criteria (Ozaki et al. 2022),
    with random numbers from `[seed, trial.number]`.

    Args:
        search_space: as of `SeededSampler`.
        initial: the study's first trial; without it that is random, as the nine after it.
        seed: as of `SeededSampler`.
        criteria: what is minimized, two numbers of a History; with None validation loss and AGN.
    """

    def multi_objective(self, seed: int) -> BaseSampler:
        """A fresh `optuna.samplers.TPESampler`."""
        return TPESampler(seed=seed)

    def advice(self, rounds: Sequence[Sequence[int]]) -> str | None:
        """Why a search of those rounds, each trial's epochs, makes no sense; None if it does."""
        return SeededTPESampler().advice(rounds)
