import importlib.metadata
import json
import re
import sys
import tomllib
import types
from pathlib import Path

import pytest

from hpo_gn import registry
from hpo_gn.errors import ArgumentError, HpoGnError, UnknownNameError
from hpo_gn.objectives.val_loss import ValLoss

PYPROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
NAMES = {kind: PYPROJECT["project"]["entry-points"][group] for kind, group in registry.GROUPS.items()}


@pytest.mark.parametrize("kind", NAMES)
def test_every_plugin_of_ours_is_found(kind):
    assert set(NAMES[kind]) <= set(registry.names(kind))
    assert registry.names(kind) == sorted(registry.names(kind))


@pytest.mark.parametrize(
    ("kind", "name", "path"), [(kind, name, path) for kind in NAMES for name, path in NAMES[kind].items()]
)
def test_every_plugin_of_ours_loads(kind, name, path):
    if name == "bohb":
        pytest.importorskip("hpbandster", reason="the extra bohb is not installed")
    assert registry.load(kind, name) is registry.import_object(kind, path)


def test_a_plugin_of_another_package_is_found(tmp_path, monkeypatch):
    """All it takes is a package with an entry point."""
    (tmp_path / "their_plugin.py").write_text("def theirs(): return 'hello'\n")
    metadata = tmp_path / "their_plugin-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: their-plugin\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[hpo_gn.objectives]\ntheirs = their_plugin:theirs\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert "theirs" in registry.names("objective")
    assert "theirs" not in registry.names("searcher")
    assert registry.load("objective", "theirs")() == "hello"
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if folder != str(tmp_path)])
    assert "theirs" not in registry.names("objective")


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("objective", "val-los", "no objective is called 'val-los'; did you mean 'val-loss'?"),
        ("searcher", "cmaes", "no searcher is called 'cmaes'; did you mean 'cma-es'?"),
        ("data set", "fashionmnist", "no data set is called 'fashionmnist'; did you mean 'fashion-mnist'?"),
        ("model", "zzz", "no model is called 'zzz'; known: densenet100, "),
        ("objective", "", "no objective is called ''; known: agn-train, "),
    ],
)
def test_an_unknown_name(kind, name, message):
    with pytest.raises(UnknownNameError, match=f"^{re.escape(message)}"):
        registry.load(kind, name)


@pytest.mark.parametrize("kind", NAMES)
def test_what_is_not_registered_is_named_by_its_module(kind):
    assert registry.load(kind, "json:dumps") is json.dumps
    assert registry.load(kind, "hpo_gn.objectives.val_loss:ValLoss") is ValLoss


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("nosuch:f", "model must be an importable module:function (no module 'nosuch'), got 'nosuch:f'"),
        ("json.no:f", "model must be an importable module:function (no module 'json.no'), got 'json.no:f'"),
        ("json:nosuch", "model must be module:function (module 'json' has no 'nosuch'), got 'json:nosuch'"),
        ("json:", "model must be module:function, got 'json:'"),
        (":f", "model must be module:function, got ':f'"),
        (".x:f", "model must be module:function, got '.x:f'"),
    ],
)
def test_a_module_or_a_function_that_does_not_exist(path, message):
    with pytest.raises(ArgumentError) as caught:
        registry.load("model", path)
    assert str(caught.value) == message


class Made:
    """A plugin that takes two settings."""

    def __init__(self, top=3, *, share=0.1):
        if top == "bad":
            raise ValueError("no such top")
        self.settings = {"top": top, "share": share}


@pytest.fixture
def here(monkeypatch):
    """The path of `Made`."""
    module = types.ModuleType("their_module")
    module.Made = Made
    monkeypatch.setitem(sys.modules, "their_module", module)
    return "their_module:Made"


@pytest.mark.parametrize(
    ("offered", "asked", "settings"),
    [
        ({}, None, {}),
        ({"top": 5, "epochs": 16}, None, {"top": 5}),
        ({"top": 5, "share": 0.2}, {"top": 7}, {"top": 7, "share": 0.2}),
        ({}, {"share": 0.3, "epochs": None, "top": None}, {"share": 0.3}),
        ({"top": 5}, {"top": None}, {"top": 5}),
    ],
)
@pytest.mark.parametrize("kind", NAMES)
def test_a_plugin_is_made_with_what_it_takes(here, kind, offered, asked, settings):
    made = registry.make(kind, here, offered, asked)
    assert made.settings == {"top": 3, "share": 0.1} | settings


def test_what_a_plugin_does_not_take_must_not_be_asked_for(here):
    with pytest.raises(ArgumentError) as caught:
        registry.make("pruner", here, {}, {"signal": "s-fv"})
    message = f"signal must be left out, since pruner {here!r} does not take it, got 's-fv'"
    assert str(caught.value) == message
    with pytest.raises(UnknownNameError, match=r"^no pruner is called 'medain'; did you mean 'median'"):
        registry.make("pruner", "medain", {})


def test_a_plugin_that_cannot_be_made_says_why(here):
    with pytest.raises(HpoGnError) as caught:
        registry.make("pruner", here, {"top": "bad"})
    assert str(caught.value).startswith(f"pruner {here!r} cannot be made: ValueError: no such top (test_")


def test_a_module_that_a_users_module_lacks_is_named(tmp_path, monkeypatch):
    (tmp_path / "my_model.py").write_text("import nosuch_dependency\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ArgumentError, match="no module 'nosuch_dependency'"):
        registry.load("model", "my_model:build")


def test_the_installed_entry_points_are_those_of_this_tree():
    """An environment that was installed before an entry point was added would test less than it says."""
    for kind, group in registry.GROUPS.items():
        installed = {
            point.name: point.value
            for point in importlib.metadata.entry_points(group=group)
            if point.dist is not None and point.dist.name.replace("-", "_") == "hpo_gn"
        }
        assert installed == NAMES[kind]
