"""CMA-ES (Hansen's pycma) as an Optuna sampler whose only state is the study."""

import math
import threading
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial

from hpo_gn.errors import ArgumentError
from hpo_gn.searchers._generations import Member, Point, complete_generations, recall, remember
from hpo_gn.searchers._seeded import SeededSampler
from hpo_gn.unit_cube import UnitCube

KEY = "hpo_gn:cma_es"
"""The system attribute with a trial's generation."""

Ranked = tuple[tuple[int, tuple[tuple[str, Any], ...], int], ...]
"""A generation as (trial number, parameters, rank): all that pycma learns from."""

FEW_GENERATIONS = 10
"""Fewer than these are hardly better than the random draws they start with: CMA-ES adapts over tens."""

_LOCK = threading.Lock()


class PyCmaSampler(SeededSampler):
    """Covariance matrix adaptation on the unit cube of the search space, with pycma.

    Each proposal comes from a `cma.CMAEvolutionStrategy` that is rebuilt from the study: finished generations
    are told again, with the random numbers of their trials, so that it equals one that was never interrupted,
    bit for bit. A generation is complete when `population_size` of its trials have finished; trials that run
    hold nobody up, more are drawn from the same distribution. A failed trial, and one whose value is not
    finite, counts as the worst of its generation; a pruned one by its value, but not before any that was
    completed.

    Args:
        search_space: as of `SeededSampler`.
        initial: the mean of the first generation; the middle of the space by default.
        sigma0: the first standard deviation, as a share of each parameter's range.
        population_size: trials in a generation, at least 3; pycma's 4 + 3 ln d by default.
        seed: as of `SeededSampler`.

    Raises:
        ArgumentError: an argument breaks its rule.
    """

    def __init__(
        self,
        *,
        search_space: Mapping[str, BaseDistribution] | None = None,
        initial: Mapping[str, Any] | None = None,
        sigma0: float = 0.25,
        population_size: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(search_space=search_space, initial=initial, seed=seed)
        if not 0 < sigma0 <= 1:
            raise ArgumentError("sigma0", "above 0 and at most 1", sigma0)
        if population_size is not None and population_size < 3:
            raise ArgumentError("population_size", "an integer of at least 3", population_size)
        self.sigma0 = sigma0
        self.population_size = population_size
        self._strategies: dict[tuple[str, tuple[Ranked, ...]], _Strategy] = {}

    def propose(self, study: Study, trial: FrozenTrial, cube: UnitCube) -> dict[str, Any]:
        """The parameters at the trial's draw from the distribution that the complete generations give."""
        if cube.dimensions == 0:
            return cube.decode([])
        size = self._size(cube)
        generations = complete_generations(recall(study, KEY, cube), size)
        remember(study, trial, KEY, cube, generation=len(generations))
        with _LOCK:
            return cube.decode(self._strategy(cube, size, generations).draw(trial.number))

    def advice(self, rounds: Sequence[Sequence[int]]) -> str | None:
        """Why a search of those rounds, each trial's epochs, makes no sense; None if it does."""
        cube = UnitCube(self.search_space or {})
        if cube.dimensions == 0:
            return None
        size = self._size(cube)
        count = sum(map(len, rounds)) // size
        if count >= FEW_GENERATIONS:
            return None
        return f"{count} generations of {size}: CMA-ES adapts over tens of generations"

    def _size(self, cube: UnitCube) -> int:
        return self.population_size or 4 + int(3 * math.log(cube.dimensions))

    def _strategy(self, cube: UnitCube, size: int, generations: list[tuple[Member, ...]]) -> "_Strategy":
        """The strategy after the generations, grown from the longest beginning of them that is at hand."""
        history = tuple(_ranked(generation) for generation in generations)
        space = repr(cube.distributions)
        known = next((k for k in range(len(history), -1, -1) if (space, history[:k]) in self._strategies), 0)
        strategy = self._strategies.pop((space, history[:known]), None) or _Strategy(self, cube, size)
        for generation, ranked in zip(generations[known:], history[known:], strict=True):
            strategy.tell(generation, [rank for *_, rank in ranked])
        # A HyperbandPruner shows each bracket its own trials: a few strategies take turns.
        while len(self._strategies) >= 8:
            del self._strategies[next(iter(self._strategies))]
        self._strategies[space, history] = strategy
        return strategy


class _Strategy:
    """pycma's optimizer, with each trial's random numbers from `[seed, trial.number]`."""

    def __init__(self, sampler: PyCmaSampler, cube: UnitCube, size: int) -> None:
        with warnings.catch_warnings():
            import cma  # type: ignore[import-untyped]  # late: it takes a second, and adds warning filters

        self._sampler = sampler
        self._cube = cube
        self._binned = [_has_equal_bins(cube.distributions[name]) for name in cube.names]
        d = cube.dimensions
        options = {
            "seed": math.nan,
            "randn": self._randn,
            "verbose": -9,
            "popsize": size,
            "bounds": [[0.0] * d, [1.0] * d],
            "BoundaryHandler": cma.BoundTransform,
            # Injected mirrors would make a draw depend on the draws before it.
            "CMA_mirrors": 0,
        }
        if d == 1:
            # Limiting the deviation of a single coordinate raises in pycma 4.5.
            options["maxstd"] = math.inf
        self._strategy = cma.CMAEvolutionStrategy(sampler.start(cube), sampler.sigma0, options)

    def draw(self, number: int) -> Point:
        """The point of the trial, shape (d,)."""
        self._random = self._sampler.random_state(number)
        return np.asarray(self._strategy.ask(1)[0])

    def tell(self, generation: tuple[Member, ...], ranks: list[int]) -> None:
        self._strategy.tell([self._told(trial) for trial in generation], ranks)

    def _told(self, trial: Member) -> Point:
        """Where a trial was, as pycma learns it: in the middle of its bin on axes of equal bins, all of which
        cost the same, so that where in it the draw fell is noise.
        """
        point = trial.point(self._cube, self.draw(trial.number))
        return np.where(self._binned, self._cube.encode(self._cube.decode(point)), point)

    def _randn(self, rows: int, columns: int) -> Point:
        return self._random.randn(rows, columns)


def _has_equal_bins(distribution: BaseDistribution) -> bool:
    match distribution:
        case FloatDistribution(step=None) | IntDistribution(log=True):
            return False
    return True


def _ranked(generation: tuple[Member, ...]) -> Ranked:
    """The generation with ranks for costs, which pycma cannot tell apart, and which are always finite."""
    ranks = np.unique([trial.cost for trial in generation], return_inverse=True)[1]
    return tuple(
        (trial.number, trial.params, rank) for trial, rank in zip(generation, ranks.tolist(), strict=True)
    )
