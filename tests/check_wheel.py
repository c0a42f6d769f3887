"""Run in a new environment that holds the built wheel alone: import every module and load every plugin.

`make wheel` calls it with -P and from a folder that is not the repository: nothing but the wheel is found.
"""

import importlib
import pkgutil
import sys
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

import hpo_gn
from hpo_gn.registry import GROUPS


def main() -> None:
    """Exit with a message at the first thing that is wrong."""
    if Path(sys.prefix) not in Path(hpo_gn.__file__).parents:
        sys.exit(f"hpo_gn is imported from {hpo_gn.__file__}, which is not in {sys.prefix}")
    for stranger in ("objectives", "searchers", "hpbandster"):
        if find_spec(stranger):
            sys.exit(f"the plain install must not bring a package called {stranger}")
    modules = [module.name for module in pkgutil.walk_packages(hpo_gn.__path__, "hpo_gn.")]
    for module in modules:
        importlib.import_module(module)
    plugins = [plugin for group in GROUPS.values() for plugin in entry_points(group=group)]
    for plugin in plugins:
        plugin.load()
    if not any(name.startswith("hpo_gn.objectives.") for name in modules) or not plugins:
        sys.exit(f"the wheel lacks its plugins: {len(modules)} modules, {len(plugins)} entry points")
    print(f"wheel: {len(modules)} modules and {len(plugins)} plugins imported in a new environment")


if __name__ == "__main__":
    main()
