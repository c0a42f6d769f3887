"""Data sets as tensors: reading them, splitting them, normalizing and augmenting batches of them."""

from collections.abc import Mapping
from pathlib import Path

from hpo_gn import registry
from hpo_gn.data.arrays import from_arrays, from_npz
from hpo_gn.data.dataset import DataSet
from hpo_gn.data.splits import Split, Splits, full_splits, search_splits
from hpo_gn.errors import DataError
from hpo_gn.failures import explained

__all__ = [
    "DataSet",
    "Split",
    "Splits",
    "from_arrays",
    "from_npz",
    "full_splits",
    "open_data",
    "search_splits",
]


def open_data(name: str, root: Path | None = None) -> DataSet:
    """The data set of a name; its splits are read when they are asked for.

    Args:
        name: a registered data set, the path of a .npz file, or "module:function" for a function without
            arguments that returns a DataSet or a mapping of x_train, y_train, x_test and y_test (see
            `from_arrays`).
        root: where a registered data set's files are looked for and downloaded to; by default the folder that
            HPO_GN_DATA names, else one in the user's cache.

    Raises:
        UnknownNameError: no data set is registered under the name.
        ArgumentError: the module or function does not exist.
        DataError: the file or what the function returns is no data set.
    """
    if name.endswith(".npz"):
        return from_npz(Path(name))
    if ":" not in name:
        return _data_set(name, registry.load("data set", name)(root))
    make = registry.load("data set", name)
    with explained(f"data set {name!r} cannot be made"):
        return _data_set(name, make())


def _data_set(name: str, found: object) -> DataSet:
    if isinstance(found, Mapping):
        return from_arrays(name, found)
    if not isinstance(found, DataSet):
        raise DataError(f"{name} must return a DataSet or a mapping of arrays, got {type(found).__name__}")
    return found
