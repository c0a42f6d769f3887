"""Plugins by name: objectives, searchers, pruners, models and data sets are found by their entry points.

A third party adds one with a package of its own::

    [project.entry-points."hpo_gn.objectives"]
    my-objective = "my_package:MyObjective"
"""

import importlib
import inspect
import sys
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import EntryPoints, entry_points
from typing import Any, Literal

from hpo_gn.errors import ArgumentError, UnknownNameError
from hpo_gn.failures import explained

Kind = Literal["objective", "searcher", "pruner", "model", "data set"]

GROUPS: dict[Kind, str] = {
    "objective": "hpo_gn.objectives",
    "searcher": "hpo_gn.searchers",
    "pruner": "hpo_gn.pruners",
    "model": "hpo_gn.models",
    "data set": "hpo_gn.data",
}


def points(kind: Kind) -> EntryPoints:
    """The entry points of a kind, in the order in which Python finds their packages."""
    return _points(GROUPS[kind], tuple(sys.path))


@lru_cache(maxsize=32)
def _points(group: str, path: tuple[str, ...]) -> EntryPoints:  # noqa: ARG001  # each path has its own
    """Kept, since every look reads the metadata of all that is installed, and a replay takes several."""
    return entry_points(group=group)


def names(kind: Kind) -> list[str]:
    """Every registered name of a kind, sorted."""
    return sorted(points(kind).names)


def load(kind: Kind, name: str) -> Any:
    """The plugin registered under a name, or what `module:attribute` names.

    Args:
        kind: "objective", "searcher", "pruner", "model" or "data set".
        name: a registered name, or "module:attribute" for an object that is not registered.

    Raises:
        UnknownNameError: nothing is registered under the name.
        ArgumentError: the module or the attribute does not exist.
    """
    if ":" in name:
        return import_object(kind, name)
    found = points(kind).select(name=name)
    if not found:
        raise UnknownNameError(kind, name, names(kind))
    return next(iter(found)).load()


def make(kind: Kind, name: str, offered: Mapping[str, Any], asked: Mapping[str, Any] | None = None) -> Any:
    """A plugin, made with settings by name.

    Args:
        kind, name: as of `load`.
        offered: those that it is given if its constructor takes them.
        asked: those that it must take, unless they are None.

    Raises:
        UnknownNameError: nothing is registered under the name.
        ArgumentError: the plugin does not take a setting that was asked for.
        HpoGnError: it cannot be made.
    """
    plugin = load(kind, name)
    given = {key: value for key, value in (asked or {}).items() if value is not None}
    with explained(f"{kind} {name!r} cannot be made"):
        taken = inspect.signature(plugin).parameters
        for key in given:
            if key not in taken:
                raise ArgumentError(key, f"left out, since {kind} {name!r} does not take it", given[key])
        return plugin(**{key: offered[key] for key in taken if key in offered} | given)


def import_object(kind: str, path: str) -> Any:
    """The object that `module:attribute` names.

    Raises:
        ArgumentError: the module cannot be found or lacks the attribute.
    """
    module, _, attribute = path.partition(":")
    if not module or module.startswith(".") or not attribute:
        raise ArgumentError(kind, "module:function", path)
    try:
        with explained(f"{kind} {path!r} cannot be imported", ModuleNotFoundError):
            imported = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ArgumentError(kind, f"an importable module:function (no module {error.name!r})", path) from None
    if not hasattr(imported, attribute):
        raise ArgumentError(kind, f"module:function (module {module!r} has no {attribute!r})", path)
    return getattr(imported, attribute)
