"""An experiment as JSON, so that a worker anywhere can join a study knowing nothing but where it is."""

from contextlib import suppress
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import optuna

from hpo_gn.errors import HpoGnError, StudyError
from hpo_gn.experiment import Experiment, make_objective
from hpo_gn.objectives import Objective
from hpo_gn.registry import points
from hpo_gn.space import space_from_json, space_to_json

RECIPE = "hpo_gn:recipe"
"""Study attribute: the experiment's recipe; None where it was made of Python objects."""

_NAMES = ("data", "model", "training")
_MADE = ("space", "objective")
_OWN = ("data_root",)
"""Fields that are each machine's own business."""


def to_recipe(experiment: Experiment) -> dict[str, Any] | None:
    """An experiment as JSON's types; None where it holds Python objects that have no name."""
    if not all(isinstance(getattr(experiment, name), str | None) for name in _NAMES):
        return None
    objective = _objective(experiment.objective)
    if objective is None:
        return None
    made = {"space": space_to_json(experiment.space), "objective": objective}
    return made | {name: getattr(experiment, name) for name in _plain()}


def from_recipe(recipe: dict[str, Any], *, data_root: Path | None = None) -> Experiment:
    """The experiment of a recipe.

    Args:
        recipe: what `to_recipe` gave.
        data_root: where this machine looks for data files.

    Raises:
        StudyError: the recipe was written by another version of hpo_gn.
        HpoGnError: a plugin that it names is not installed here.
    """
    expected = {*_plain(), *_MADE}
    if recipe.keys() != expected:
        strange = ", ".join(sorted(recipe.keys() ^ expected))
        raise StudyError(f"the study was made by another version of hpo_gn, which differs in: {strange}")
    made: dict[str, Any] = {
        "space": space_from_json(recipe["space"]),
        "objective": make_objective(recipe["objective"]["name"], **recipe["objective"]["settings"]),
    }
    made |= {name: recipe[name] for name in _plain()}
    return Experiment(**made, data_root=data_root)


def objective_of(study: optuna.Study) -> Objective | None:
    """The objective of a search's study; None where it was made of Python objects, or is not installed
    here.
    """
    recipe = study.user_attrs.get(RECIPE)
    if recipe is None:
        return None
    with suppress(HpoGnError):
        return make_objective(recipe["objective"]["name"], **recipe["objective"]["settings"])
    return None


def _plain() -> list[str]:
    return [field.name for field in fields(Experiment) if field.name not in (*_MADE, *_OWN)]


def _objective(objective: Objective) -> dict[str, Any] | None:
    """An objective's registered name, or its module:class, and its settings; None if those are more than
    plain values.
    """
    if not is_dataclass(objective):
        return None
    given = {field.name: getattr(objective, field.name) for field in fields(objective) if field.init}
    default = {field.name: field.default for field in fields(objective)}
    settings = {name: value for name, value in given.items() if value != default[name]}
    if not all(isinstance(value, str | int | float | None) for value in settings.values()):
        return None
    kind = f"{type(objective).__module__}:{type(objective).__qualname__}"
    registered = {entry.value: entry.name for entry in points("objective")}
    return {"name": registered.get(kind, kind), "settings": settings}
