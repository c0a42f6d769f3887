"""YAML as people expect it: the core rules and types of YAML 1.2, and no key twice.

PyYAML keeps to YAML 1.1, where `1e-3` is a string, `no` is false, `010` is eight, `1:30` is ninety and the
last of two equal keys wins silently. Here `1e-3` is a number, `no` and `1:30` are strings, `010` is ten and a
repeated key is an error.
"""

import re
from typing import Any

import yaml
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode, Node, ScalarNode


class _Yaml12Loader(yaml.SafeLoader):
    """PyYAML's safe loader with YAML 1.2's tables in place of YAML 1.1's."""

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, ScalarNode):
                raise ConstructorError(None, None, "a key must be a single value", key_node.start_mark)
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise ConstructorError(None, None, f"key {key!r} is there twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def load_yaml(text: str) -> Any:
    """The plain Python value of a YAML 1.2 document.

    Raises:
        yaml.YAMLError: wrong syntax, a key that appears twice in a mapping, a tag of more than plain values,
            or more levels than Python's stack takes.
    """
    try:
        return yaml.load(text, Loader=_Yaml12Loader)
    except RecursionError:
        raise yaml.YAMLError("too many levels") from None


def _integer(_loader: _Yaml12Loader, node: ScalarNode) -> int:
    return int(_matching("int", node))


def _real(_loader: _Yaml12Loader, node: ScalarNode) -> float:
    return float(_matching("float", node).lower().replace(".inf", "inf").replace(".nan", "nan"))


def _boolean(_loader: _Yaml12Loader, node: ScalarNode) -> bool:
    return _matching("bool", node).lower() == "true"


def _nothing(_loader: _Yaml12Loader, node: ScalarNode) -> None:
    _matching("null", node)


def _matching(kind: str, node: Node) -> str:
    """The text of a value, whose tag may have been written by hand."""
    text = str(node.value)
    if not isinstance(node, ScalarNode) or not _PATTERNS[kind].match(text):
        raise ConstructorError(None, None, f"must be of type {kind}, got {text[:50]!r}", node.start_mark)
    if len(text) > _LONGEST_NUMBER:
        raise ConstructorError(None, None, f"a number of {len(text)} characters is too long", node.start_mark)
    return text


_LONGEST_NUMBER = 1000
_PATTERNS = {
    kind: re.compile(rf"^(?:{pattern})\Z")
    for kind, pattern in {
        "null": r"~|null|Null|NULL|",
        "bool": r"true|True|TRUE|false|False|FALSE",
        "int": r"[-+]?[0-9]+",
        "float": r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
    }.items()
}

_Yaml12Loader.yaml_implicit_resolvers = {}
_Yaml12Loader.yaml_constructors = {
    tag: constructor
    for tag, constructor in yaml.SafeLoader.yaml_constructors.items()
    if tag is None or tag.rpartition(":")[2] in ("str", "seq", "map")
}
for _kind, _construct in {"null": _nothing, "bool": _boolean, "int": _integer, "float": _real}.items():
    _Yaml12Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _construct)
    _Yaml12Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", _PATTERNS[_kind], None)
