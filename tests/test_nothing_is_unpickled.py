"""Nothing that is stored is unpickled: not in a search, and nowhere in the source."""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unpickling import SEARCHERS

ROOT = Path(__file__).parent.parent
SOURCES = sorted(
    path for folder in ("hpo_gn", "objectives", "searchers") for path in (ROOT / folder).rglob("*.py")
)
PICKLERS = {
    "pickle",
    "_pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "joblib",
    "shelve",
    "marshal",
    "jsonpickle",
}
ERRORS = {"PicklingError", "UnpicklingError"}
"""All that is used of them."""


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.unpickling"],
        cwd=tmp_path_factory.mktemp("search"),
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("searcher", SEARCHERS)
def test_a_search_is_stopped_among_bombs_and_goes_on(said: dict[str, Any], searcher: str) -> None:
    ended = dict(said["searches"][searcher])
    assert ended.pop("planted") > 0
    assert ended == {"stopped": 130, "looked": 0, "worked": 0, "resumed": 0, "finished": True}


def test_no_bomb_went_off_and_no_class_was_looked_up(said: dict[str, Any]) -> None:
    assert said["quiet"]
    assert said["events"] == []
    assert (said["data"], said["space"]) == (2, 2)


def test_the_bombs_do_go_off_where_they_are_unpickled(said: dict[str, Any]) -> None:
    assert said["control"]["went_off"]
    assert any(event.startswith("pickle.find_class") for event in said["control"]["events"])
    assert any(event.startswith("pickle.loads") for event in said["control"]["events"])


def unsafe(source: str) -> Iterator[str]:
    """What in a source unpickles, or runs what it reads."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (
                    f"import {each.name} as" for each in names if each.name in PICKLERS and each.asname
                )
            case ast.ImportFrom(module=module, names=names) if module in PICKLERS:
                yield from (each.name for each in names if each.name not in ERRORS)
            case ast.Attribute(value=ast.Name(id=module), attr=name) if module in PICKLERS:
                yield from {name} - ERRORS
            case ast.Call(func=ast.Name(id="eval" | "exec" | "compile" | "__import__" as name)):
                yield name
            case ast.Call(func=ast.Attribute(value=ast.Name(id=module), attr=name)) as call:
                yield from _unsafe_call(f"{module}.{name}", {each.arg: each.value for each in call.keywords})


def _unsafe_call(name: str, options: dict[str | None, ast.expr]) -> Iterator[str]:
    given = {option: ast.unparse(value) for option, value in options.items()}
    loader = given.get("Loader")
    if name == "torch.load" and given.get("weights_only") != "True":
        yield "torch.load without weights_only"
    if given.get("allow_pickle", "False") != "False":
        yield f"{name} with allow_pickle"
    if name in ("yaml.load", "yaml.load_all") and loader not in ("yaml.SafeLoader", "_Yaml12Loader"):
        yield f"{name} without a safe loader"
    if name in ("yaml.unsafe_load", "yaml.full_load", "pandas.read_pickle", "pd.read_pickle"):
        yield name


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_source_unpickles_nothing(path: Path) -> None:
    assert list(unsafe(path.read_text())) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle as p",
        "import pickle; pickle.loads(x)",
        "from pickle import Unpickler",
        "from dill import loads",
        "import shelve; shelve.open(x)",
        "torch.load(x)",
        "torch.load(x, weights_only=False)",
        "np.load(x, allow_pickle=True)",
        "yaml.load(x, Loader=yaml.Loader)",
        "yaml.load(x, yaml.SafeLoader)",
        "yaml.unsafe_load(x)",
        "eval(x)",
        "exec(x)",
    ],
)
def test_what_would_be_found(source: str) -> None:
    assert len(list(unsafe(source))) == 1


@pytest.mark.parametrize(
    "source",
    [
        "import pickle; pickle.UnpicklingError",
        "from pickle import PicklingError",
        "torch.load(x, weights_only=True)",
        "np.load(x)",
        "yaml.load(x, Loader=yaml.SafeLoader)",
        "model.eval()",
        "torch.compile(x)",
    ],
)
def test_what_is_harmless(source: str) -> None:
    assert list(unsafe(source)) == []


def test_the_safe_loader_makes_plain_values_only() -> None:
    from hpo_gn.yaml12 import _Yaml12Loader

    made = {str(tag).rpartition(":")[2] for tag in _Yaml12Loader.yaml_constructors if tag}
    assert made == {"null", "bool", "int", "float", "str", "seq", "map"}
    assert not _Yaml12Loader.yaml_multi_constructors
