"""One value of a specification's axis: a name, and its settings where it has any."""

import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from hpo_gn.errors import ArgumentError, HpoGnError, UnknownNameError
from hpo_gn.registry import Kind, load
from hpo_gn.space_file import shown

ONE_BUDGET = (
    "a comparison has one budget and one number of epochs, so that its cells compare; for another, write a "
    "second specification"
)


@dataclass(frozen=True)
class Choice:
    """A name, and its settings.

    Args:
        name: as the specification has it.
        settings: what it is made with, by name.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """As a table shows it, e.g. "agn-val(alpha=0.0001, gated)"."""
        given = ", ".join(
            name if value is True else f"{name}={value!r}" for name, value in self.settings.items()
        )
        return f"{self.name}({given})" if given else self.name

    @property
    def slug(self) -> str:
        """As a part of a path, e.g. "agn-val,alpha=0.0001"."""
        return ",".join([self.name, *(f"{name}={value}" for name, value in self.settings.items())])


Settings = Callable[[str], Collection[str]]
"""The settings that what has a name takes."""


def read_choices(key: str, value: Any, settings: Settings | None = None) -> list[Choice]:
    """The choices of an axis: one value or a list of them, each a name or a mapping of a name and settings; a
    list in a setting is a product.

    Args:
        key: the axis, in errors.
        value: what the file has there.
        settings: of each name; None where nothing takes any.

    Raises:
        HpoGnError: it is empty, of the wrong type, has a setting that is unknown, or a choice twice.
    """
    items = value if isinstance(value, list) else [value]
    if not items:
        raise ArgumentError(key, "a value or more, since a product with nothing is empty", items)
    found = [choice for item in items for choice in _read(key, item, settings)]
    for position, choice in enumerate(found):
        if choice in found[:position]:
            raise HpoGnError(f"{key} {choice.label} is there twice")
    return found


def settings_of(kind: Kind, name: str) -> list[str]:
    """The settings that a plugin takes.

    Raises:
        UnknownNameError: nothing is registered under the name.
    """
    return list(inspect.signature(load(kind, name)).parameters)


def _read(key: str, item: Any, settings: Settings | None) -> Iterator[Choice]:
    if isinstance(item, str) and item:
        yield Choice(item)
        return
    if not isinstance(item, dict) or not isinstance(item.get("name"), str) or settings is None:
        rule = "a name" if settings is None else "a name, or a mapping of a name and its settings"
        raise ArgumentError(key, rule, Shown(item))
    given = {setting: value for setting, value in item.items() if setting != "name"}
    _check_settings(f"{key} {item['name']}", given, settings(item["name"]))
    listed = [value if isinstance(value, list) else [value] for value in given.values()]
    for values in product(*listed):
        yield Choice(item["name"], dict(zip(given, values, strict=True)))


def _check_settings(where: str, given: Mapping[Any, Any], known: Collection[str]) -> None:
    for setting, value in given.items():
        if setting in ("budget", "epochs"):
            raise HpoGnError(f"{where} cannot have {setting}: {ONE_BUDGET}")
        if setting not in known:
            raise UnknownNameError(f"setting of {where}", str(setting), known)
        values = value if isinstance(value, list) else [value]
        if not values or not all(isinstance(each, str | int | float) for each in values):
            rule = "a string, number or boolean, or a list of those"
            raise ArgumentError(f"{setting} of {where}", rule, Shown(value))


class Shown:
    """A value whose representation is short, whatever a file says."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __repr__(self) -> str:
        return shown(self._value)
