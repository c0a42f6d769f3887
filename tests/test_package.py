import importlib
import inspect
import pkgutil
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest

import hpo_gn
from hpo_gn.registry import GROUPS

ROOT = Path(__file__).parents[1]
MODULES = ["hpo_gn", *(module.name for module in pkgutil.walk_packages(hpo_gn.__path__, "hpo_gn."))]
EXPORTING = [name for name in MODULES if hasattr(importlib.import_module(name), "__all__")]
PLUGINS = [plugin for group in GROUPS.values() for plugin in entry_points(group=group)]

IMPORT_EVERYTHING = f"""
import importlib, sys
from importlib.metadata import entry_points
for name in {MODULES}:
    importlib.import_module(name)
for group in {list(GROUPS.values())}:
    for plugin in entry_points(group=group):
        plugin.load()
"""


def python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run code in a new process in a folder."""
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)


def test_the_version_is_the_projects():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert hpo_gn.__version__ == version("hpo_gn") == declared


@pytest.mark.parametrize("name", EXPORTING)
def test_all_is_exactly_what_a_package_defines_for_others(name):
    module = importlib.import_module(name)
    public = {
        key
        for key, value in vars(module).items()
        if not key.startswith("_") and not inspect.ismodule(value) and defined_in(name, value)
    }
    missing = [key for key in module.__all__ if not hasattr(module, key)]
    assert not missing
    assert public - set(module.__all__) == set()
    assert len(set(module.__all__)) == len(module.__all__)


def defined_in(package: str, value: object) -> bool:
    """Whether a class or function is the package's own, not something that it uses."""
    home = getattr(value, "__module__", None) or ""
    return f"{home}.".startswith(f"{package}.")


def test_packages_say_what_they_export():
    assert {"hpo_gn", "hpo_gn.data", "hpo_gn.models", "hpo_gn.measures", "hpo_gn.budget"} <= set(EXPORTING)


@pytest.mark.parametrize("folder", ["objectives", "searchers"])
def test_a_plugin_folder_refuses_to_be_imported_by_its_bare_name(folder):
    run = python(f"import {folder}", ROOT)
    assert run.returncode == 1
    assert f"ImportError: import hpo_gn.{folder}: a bare '{folder}'" in run.stderr


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda plugin: f"{plugin.group}-{plugin.name}")
def test_every_entry_point_loads_something_callable(plugin):
    assert callable(plugin.load())


def test_every_declared_entry_point_is_installed():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    found = {(plugin.group, plugin.name, plugin.value) for plugin in PLUGINS}
    assert found == {(group, *item) for group, plugins in declared.items() for item in plugins.items()}


def test_importing_everything_imports_neither_hpbandster_nor_pyswarms_and_writes_no_file(tmp_path):
    code = IMPORT_EVERYTHING + "print({'hpbandster', 'pyswarms', 'Pyro4'} & set(sys.modules))"
    run = python(code, tmp_path)
    assert run.returncode == 0, run.stderr
    assert run.stdout == "set()\n"
    assert list(tmp_path.iterdir()) == []


def test_everything_can_be_imported_without_hpbandster(tmp_path):
    run = python("import sys\nsys.modules['hpbandster'] = None\n" + IMPORT_EVERYTHING, tmp_path)
    assert run.returncode == 0, run.stderr
