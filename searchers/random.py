"""Random search: Optuna's RandomSampler, made a function of the study and a seed."""

from optuna.samplers import BaseSampler, RandomSampler

from hpo_gn.searchers._per_trial_seed import PerTrialSeedSampler


class SeededRandomSampler(PerTrialSeedSampler):
    """Optuna's `RandomSampler` with random numbers from `[seed, trial.number]`.

    Args:
        search_space: as of `SeededSampler`.
        initial: the study's first trial; without it that is random, too.
        seed: as of `SeededSampler`.
    """

    def inner(self, seed: int) -> BaseSampler:
        """A fresh `optuna.samplers.RandomSampler`."""
        return RandomSampler(seed=seed)
