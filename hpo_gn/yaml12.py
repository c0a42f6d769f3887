"""YAML as people expect it: the core rules of YAML 1.2, and no key twice.

PyYAML keeps to YAML 1.1, where `1e-3` is a string, `no` is false, `010` is eight, `1:30` is ninety and the
last of two equal keys wins silently. Here `1e-3` is a number, `no` and `1:30` are strings, `010` is ten and a
repeated key is an error.
"""

import re
from typing import Any

import yaml
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode, ScalarNode


class _Yaml12Loader(yaml.SafeLoader):
    """PyYAML's safe loader with YAML 1.2's tables in place of YAML 1.1's."""

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                raise ConstructorError(None, None, f"key {key!r} is there twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def load_yaml(text: str) -> Any:
    """The plain Python value of a YAML 1.2 document.

    Raises:
        yaml.YAMLError: wrong syntax, or a key that appears twice in a mapping.
    """
    return yaml.load(text, Loader=_Yaml12Loader)


def _integer(loader: _Yaml12Loader, node: ScalarNode) -> int:
    return int(str(loader.construct_scalar(node)))


def _real(loader: _Yaml12Loader, node: ScalarNode) -> float:
    return float(str(loader.construct_scalar(node)).replace(".inf", "inf").replace(".nan", "nan"))


_Yaml12Loader.yaml_implicit_resolvers = {}
_Yaml12Loader.add_constructor("tag:yaml.org,2002:int", _integer)
_Yaml12Loader.add_constructor("tag:yaml.org,2002:float", _real)
for _tag, _pattern in {
    "null": r"~|null|Null|NULL|",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?[0-9]+",
    "float": r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
}.items():
    _Yaml12Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), None)
