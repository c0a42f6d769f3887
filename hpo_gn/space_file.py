"""What a space file may say, checked before ConfigSpace reads it, whose own errors are tracebacks."""

import json
import math
import reprlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from hpo_gn.errors import SpaceError, UnknownNameError
from hpo_gn.yaml12 import load_yaml


def read_document(path: Path) -> Any:
    """The plain Python value of a JSON (by its suffix) or YAML file of at most a million bytes.

    Raises:
        SpaceError: the file cannot be read, is too large, or has wrong syntax or a key twice.
    """
    try:
        with path.open("rb") as file:
            contents = file.read(_MOST_BYTES + 1)
        if len(contents) > _MOST_BYTES:
            raise SpaceError(f"must have at most {_MOST_BYTES:,} bytes")
        text = contents.decode("utf-8-sig")
        if path.suffix.lower() == ".json":
            return json.loads(text, object_pairs_hook=_without_duplicates)
        return load_yaml(text)
    except OSError as error:
        raise SpaceError(f"cannot be read: {error.strerror}") from None
    except RecursionError:
        raise SpaceError("too many levels") from None
    except (ValueError, yaml.YAMLError) as error:  # UTF-8, JSON, integers of thousands of digits
        raise SpaceError(" ".join(str(error).split())) from None


def checked(document: Any) -> dict[str, Any]:
    """The document, if it is a space in ConfigSpace's format with hyperparameters that Optuna can have.

    Raises:
        SpaceError: the first thing that is wrong, with the hyperparameter and its field.
    """
    if not isinstance(document, dict) or not isinstance(document.get("hyperparameters"), list):
        raise SpaceError("must be a mapping with a list 'hyperparameters'")
    _known("a space", document, _TOP_LEVEL)
    if not isinstance(document.get("name"), str | None):
        raise SpaceError(f"name of a space must be a string, got {shown(document['name'])}")
    if document.get("conditions") or document.get("forbiddens"):
        raise SpaceError("conditions and forbidden clauses are not supported in a search space")
    if not document["hyperparameters"]:
        raise SpaceError("a search space must have at least one hyperparameter")
    for position, item in enumerate(document["hyperparameters"], start=1):
        _check_hyperparameter(position, item)
    return document


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if twice := [key for key, times in Counter(key for key, _ in pairs).items() if times > 1]:
        raise SpaceError(f"key {shown(twice[0])} is there twice")
    return dict(pairs)


def _known(where: str, mapping: dict[Any, Any], fields: Any) -> None:
    for key in mapping:
        if key not in fields:
            raise SpaceError(str(UnknownNameError(f"field of {where}", str(key)[:_LONGEST_NAME], fields)))


def _check_hyperparameter(position: int, item: Any) -> None:
    if not isinstance(item, dict) or not isinstance(item.get("name"), str):
        raise SpaceError(f"hyperparameter {position} must be a mapping with a 'name', got {shown(item)}")
    where = shown(item["name"])
    if not 0 < len(item["name"]) <= _LONGEST_NAME or not item["name"].isprintable():
        rule = f"1 to {_LONGEST_NAME} printable characters"
        raise SpaceError(f"name of hyperparameter {position} must be {rule}, got {where}")
    if not isinstance(item.get("type"), str) or item["type"] not in _FIELDS:
        raise SpaceError(
            f"type of {where} must be one of {', '.join(_FIELDS)}, got {shown(item.get('type'))}"
        )
    fields = _FIELDS[item["type"]]
    _known(where, item, {"name", "type", "meta", *fields})
    for field, (rule, holds) in fields.items():
        if field not in item and field in _REQUIRED:
            raise SpaceError(f"{where} must have {field!r}, {rule}")
        if field in item and not holds(item[field]):
            raise SpaceError(f"{field} of {where} must be {rule}, got {shown(item[field])}")
    _check_step(where, item)


def _check_step(where: str, item: dict[str, Any]) -> None:
    meta = item.get("meta")
    if meta is None:
        return
    if not isinstance(meta, dict) or not item["type"].startswith("uniform") or set(meta) != {"step"}:
        raise SpaceError(
            f"meta of {where} must be {{step: …}} of a uniform hyperparameter, got {shown(meta)}"
        )
    step, lower = meta["step"], item["lower"]
    rule, holds = _INTEGER if item["type"] == "uniform_int" else _NUMBER
    if not holds(step) or step <= 0:
        raise SpaceError(f"step of {where} must be {rule}, above 0, got {shown(step)}")
    if item.get("log"):
        raise SpaceError(f"step of {where} must be absent on a log scale, got {shown(step)}")
    for field in ("upper", "default_value"):
        steps = (item.get(field, lower) - lower) / step
        least = 1 if field == "upper" else 0
        if not least - 0.5 < steps <= _LARGEST or abs(steps - round(steps)) > 1e-8:
            rule = f"lower + a multiple of {shown(step)}"
            raise SpaceError(f"{field} of {where} must be {rule}, got {shown(item[field])}")


def shown(value: Any) -> str:
    """A value in an error's line: whatever a file says, it is short, though its aliases repeat themselves."""
    return _SHORT.repr(value)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST


def _is_number(value: Any) -> bool:
    return _is_integer(value) or (isinstance(value, float) and math.isfinite(value))


def _is_decimal(value: Any) -> bool:
    return _is_number(value) and abs(value) <= _LARGEST and round(value, 13) == value


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | str) or _is_number(value)


def _is_choices(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(map(_is_plain, value))


_MOST_BYTES = 1_000_000
_LONGEST_NAME = 200
_LARGEST = 2**53  # samplers compute in floats, which have every integer up to it
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _LONGEST_NAME

_Rule = tuple[str, Callable[[Any], bool]]
_NUMBER: _Rule = ("a finite number", _is_number)
_DECIMAL: _Rule = ("a finite number up to 2⁵³ of at most 13 decimals", _is_decimal)
_INTEGER: _Rule = ("an integer up to 2⁵³", _is_integer)
_BOOLEAN: _Rule = ("true or false", lambda value: isinstance(value, bool))
_PLAIN: _Rule = ("a string, number, boolean or null", _is_plain)
_CHOICES: _Rule = ("a list of strings, numbers, booleans or nulls", _is_choices)
_NO_WEIGHTS: _Rule = ("absent (weights are not supported)", lambda value: value is None)

_TOP_LEVEL = {
    "name",
    "hyperparameters",
    "conditions",
    "forbiddens",
    "python_module_version",
    "format_version",
}
_REQUIRED = {"lower", "upper", "choices", "sequence", "value"}
_FIELDS: dict[str, dict[str, _Rule]] = {
    "uniform_float": {"lower": _DECIMAL, "upper": _DECIMAL, "log": _BOOLEAN, "default_value": _DECIMAL},
    "uniform_int": {"lower": _INTEGER, "upper": _INTEGER, "log": _BOOLEAN, "default_value": _INTEGER},
    "categorical": {"choices": _CHOICES, "default_value": _PLAIN, "weights": _NO_WEIGHTS},
    "ordinal": {"sequence": _CHOICES, "default_value": _PLAIN},
    "constant": {"value": _PLAIN},
}
