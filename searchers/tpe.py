"""Tree-structured Parzen estimators: Optuna's TPESampler, made a function of the study and a seed."""

import inspect
from collections.abc import Sequence

from optuna.samplers import BaseSampler, TPESampler

from hpo_gn.searchers._per_trial_seed import PerTrialSeedSampler


class SeededTPESampler(PerTrialSeedSampler):
    """Optuna's `TPESampler`, as it comes, with random numbers from `[seed, trial.number]`.

    Args:
        search_space: as of `SeededSampler`.
        initial: the study's first trial; without it that is random, as the nine after it.
        seed: as of `SeededSampler`.
    """

    def inner(self, seed: int) -> BaseSampler:
        """A fresh `optuna.samplers.TPESampler`."""
        return TPESampler(seed=seed)

    def advice(self, rounds: Sequence[Sequence[int]]) -> str | None:
        """Why a search of those rounds, each trial's epochs, makes no sense; None if it does."""
        random = inspect.signature(TPESampler).parameters["n_startup_trials"].default
        finished = sum(map(len, rounds[:-1]))
        if finished >= random:
            return None
        return (
            f"all trials are random: TPE models from {random} finished trials on, and {finished} come before "
            "the last round"
        )
