"""YAML read by the rules of version 1.2, against what PyYAML makes of the same text."""

import math
from datetime import date
from typing import Any

import pytest
import yaml

from hpo_gn.yaml12 import load_yaml


@pytest.mark.parametrize(
    ("text", "value", "pyyaml"),
    [
        ("1e-3", 1e-3, "1e-3"),
        ("1E5", 1e5, "1E5"),
        ("no", "no", False),
        ("On", "On", True),
        ("010", 10, 8),
        ("1:30", "1:30", 90),
        ("1_000", "1_000", 1000),
        ("2020-01-01", "2020-01-01", date(2020, 1, 1)),
        ("true", True, True),
        ("FALSE", False, False),
        ("~", None, None),
        ("", None, None),
        ("-5", -5, -5),
        ("-.5", -0.5, "-.5"),
        ("3.", 3.0, 3.0),
        ("-.inf", -math.inf, -math.inf),
        ("'1'", "1", "1"),
        ("[a, {b: 1}]", ["a", {"b": 1}], ["a", {"b": 1}]),
    ],
)
def test_scalars(text: str, value: Any, pyyaml: Any) -> None:
    assert load_yaml(text) == value
    assert type(load_yaml(text)) is type(value)
    assert yaml.safe_load(text) == pyyaml, "PyYAML has changed: is this module still needed?"


def test_nan() -> None:
    assert math.isnan(load_yaml(".nan"))


def test_a_key_twice_is_an_error() -> None:
    with pytest.raises(yaml.YAMLError, match=r"key 'a' is there twice[\s\S]*line 3"):
        load_yaml("a: 1\nb: 2\na: 3\n")
    assert load_yaml("[{a: 1}, {a: 2}]") == [{"a": 1}, {"a": 2}]


def test_no_python_objects() -> None:
    with pytest.raises(yaml.YAMLError):
        load_yaml("!!python/object/apply:os.getcwd []")


@pytest.mark.parametrize(
    "text",
    [
        "!!timestamp soon",
        "!!timestamp 2020-01-01",
        "!!binary x",
        "!!set {a}",
        "!!bool maybe",
        "!!int x",
        "!!float [1]",
        "!!null x",
        "!own x",
        "{[a]: b}",
        "{{a: b}: c}",
        "9" * 5000,
        "[" * 5000,
        "&a {*a : b}",
    ],
    ids=lambda text: text[:30],
)
def test_anything_but_plain_values_is_an_error(text: str) -> None:
    with pytest.raises(yaml.YAMLError):
        load_yaml(text)


@pytest.mark.parametrize(
    ("text", "value"), [("!!int '07'", 7), ("!!float 1", 1.0), ("!!bool 'TRUE'", True), ("!!str 1", "1")]
)
def test_a_tag_may_be_written_by_hand(text: str, value: Any) -> None:
    assert load_yaml(text) == value
    assert type(load_yaml(text)) is type(value)
