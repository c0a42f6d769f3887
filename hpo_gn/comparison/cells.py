"""Cells: one search each, with its labels, its experiment and a name."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import quote

from hpo_gn.comparison.choice import Choice
from hpo_gn.comparison.result import Labels
from hpo_gn.comparison.spec import NO_PRUNER, Spec, said_of
from hpo_gn.data import open_data
from hpo_gn.errors import HpoGnError, UnknownNameError
from hpo_gn.experiment import Experiment, make_objective
from hpo_gn.objectives import Objective
from hpo_gn.plan import plan
from hpo_gn.registry import load

MOST_CELLS = 100_000


@dataclass(frozen=True)
class Cell:
    """One search of a comparison.

    Args:
        labels: which.
        experiment: what is searched.
        study: the name of its study, `<comparison>/<name>`.
        name: unique in the comparison, and the same whatever else that combines.
        command: what runs this cell alone.
    """

    labels: Labels
    experiment: Experiment
    study: str
    name: str
    command: str


def make_cells(
    spec: Spec, command: Sequence[str] = ("hpo-gn", "compare"), *, data_root: Path | None = None
) -> list[Cell]:
    """A specification's cells, each method's first seed before anyone's second.

    Args:
        spec: the specification.
        command: what runs it, and its options.
        data_root: where this machine looks for data files.

    Raises:
        SpecError: there are too many, two are the same, or one cannot start; the message names the file.
    """
    with said_of(spec.path):
        if spec.size > MOST_CELLS:
            raise HpoGnError(f"the product has {spec.size:,} cells; at most {MOST_CELLS:,} are compared")
        _check_names(spec)
        make = _Maker(spec, _make_objectives(spec.objectives), data_root)
        _check_starts(spec, make)
        return list(_cells(spec, make, command))


def pick(cells: Sequence[Cell], names: Sequence[str]) -> list[Cell]:
    """The cells of those names, all of them where none is given.

    Raises:
        UnknownNameError: no cell has the name.
    """
    known = {cell.name: cell for cell in cells}
    for name in names:
        if name not in known:
            raise UnknownNameError("cell", name, known)
    return [known[name] for name in dict.fromkeys(names)] if names else list(cells)


@dataclass(frozen=True)
class _Maker:
    """Makes the experiments of a specification.

    Args:
        spec: the specification.
        objectives: by label, each made once.
        data_root: where data files are looked for.
    """

    spec: Spec
    objectives: Mapping[str, Objective]
    data_root: Path | None

    def __call__(
        self, data: str, model: str, objective: Choice, searcher: str, pruner: Choice, seed: int
    ) -> Experiment:
        named: dict[str, Any] = {"training" if self.spec.trainings else "model": model}
        return Experiment(
            data=data,
            space=self.spec.space,
            objective=self.objectives[objective.label],
            searcher=searcher,
            pruner=None if pruner.name == NO_PRUNER else pruner.name,
            seed=seed,
            data_root=self.data_root,
            **named,
            **pruner.settings,
            **self.spec.settings,
        )


def _cells(spec: Spec, make: _Maker, command: Sequence[str]) -> Iterator[Cell]:
    for seed, data, model, objective, searcher, pruner in product(
        spec.seeds, spec.data, spec.models, spec.objectives, spec.searchers, spec.pruners
    ):
        parts = model, data, objective.slug, searcher, pruner.slug, f"seed-{seed}"
        name = "/".join(quote(part, safe=",=:") for part in parts)
        yield Cell(
            labels=Labels(objective.label, searcher, pruner.label, model, data, seed),
            experiment=make(data, model, objective, searcher, pruner, seed),
            study=f"{spec.name}/{name}",
            name=name,
            command=shlex.join([*command, str(spec.path), "--only", name]),
        )


def _check_names(spec: Spec) -> None:
    for data in spec.data:
        open_data(data)
    for model in spec.models:
        load("model", model)
    for pruner in spec.pruners:
        if pruner.name != NO_PRUNER:
            load("pruner", pruner.name)


def _make_objectives(choices: Sequence[Choice]) -> dict[str, Objective]:
    """The objectives by label. Two ways to write one would be one cell twice."""
    made: dict[str, Objective] = {}
    labels: dict[str, str] = {}
    for choice in choices:
        objective = make_objective(choice.name, **choice.settings)
        if repr(objective) in labels:
            raise HpoGnError(f"objective {labels[repr(objective)]} and {choice.label} are the same")
        labels[repr(objective)] = choice.label
        made[choice.label] = objective
    return made


def _check_starts(spec: Spec, make: _Maker) -> None:
    """Every kind of cell is planned once: what a budget buys does not depend on the objective or the seed."""
    data, model, objective, seed = spec.data[0], spec.models[0], spec.objectives[0], spec.seeds[0]
    for searcher, pruner in product(spec.searchers, spec.pruners):
        experiment = make(data, model, objective, searcher, pruner, seed)
        experiment.stopping()
        experiment.sampler()
        planned = plan(experiment, budget=spec.budget, searchers=[searcher]).searchers[0]
        if not planned.trials:
            raise HpoGnError(f"searcher {searcher}: {'; '.join(planned.warnings)}")
