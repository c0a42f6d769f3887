"""Tree-structured Parzen estimators: Optuna's TPESampler, made a function of the study and a seed."""

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
