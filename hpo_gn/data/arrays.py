"""A user's own arrays as a data set: x_train, y_train, x_test and y_test, in a .npz file or a mapping."""

import zlib
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from hpo_gn.data.dataset import DataSet, OfficialSplit
from hpo_gn.errors import DataError

Get = Callable[[str], np.ndarray]

MISSING = "needs the arrays x_train, y_train, x_test and y_test, lacks"


def from_npz(path: Path) -> DataSet:
    """A data set in a .npz file; see `from_arrays` for its four arrays. Only y_train is read at once.

    Raises:
        DataError: the file cannot be read or lacks an array.
    """
    return _data_set(str(path), partial(_stored, path))


def from_arrays(name: str, arrays: Mapping[str, object]) -> DataSet:
    """A data set of four arrays.

    Args:
        name: what the data set is called in messages.
        arrays: x_train and x_test, images [N, H, W] or [N, C, H, W], or feature vectors [N, D], of uint8 or
            floats (converted to float32); y_train and y_test, integers [N]. The classes are 0 … max(y_train).

    Raises:
        DataError: an array is missing or not as described.
    """
    return _data_set(name, partial(_given, name, arrays))


def _data_set(name: str, get: Get) -> DataSet:
    labels = _targets(name, "y_train", get)
    classes = int(labels.max()) + 1 if labels.numel() else 0
    if classes < 2:
        raise DataError(f"{name}: y_train must have labels from 0 to at least 1, got at most {classes - 1}")
    if classes > len(labels):
        rule = f"labels below its {len(labels)} samples' number"
        raise DataError(f"{name}: y_train must have {rule}, got {classes - 1}")
    return DataSet(name, classes, partial(_read, name, get))


def _read(name: str, get: Get, split: OfficialSplit) -> tuple[Tensor, Tensor]:
    return _inputs(name, f"x_{split}", get), _targets(name, f"y_{split}", get)


def _inputs(name: str, key: str, get: Get) -> Tensor:
    array = get(key)
    if array.dtype != np.uint8 and array.dtype.kind != "f":
        raise DataError(f"{name}: {key} must be of uint8 or floats, got {array.dtype}")
    if array.ndim == 4 and array.shape[3] in (1, 3) and array.shape[1] not in (1, 3):
        raise DataError(f"{name}: {key} must be [N, C, H, W], channels first, got {list(array.shape)}")
    if array.ndim == 3:
        array = array[:, None]
    return torch.tensor(array, dtype=None if array.dtype == np.uint8 else torch.float32)


def _targets(name: str, key: str, get: Get) -> Tensor:
    array = get(key)
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise DataError(f"{name}: {key} must be integers [N], got {array.dtype} {list(array.shape)}")
    return torch.tensor(array.astype(np.int64))


def _stored(path: Path, key: str) -> np.ndarray:
    try:
        # numpy leaves a damaged archive open unless the file is ours.
        with path.open("rb") as file, np.load(file) as arrays:
            return np.asarray(arrays[key])
    except KeyError:
        raise DataError(f"{path}: {MISSING} {key}") from None
    except (OSError, TypeError, ValueError, EOFError, BadZipFile, zlib.error) as error:
        raise DataError(f"{path}: cannot be read, {error}") from error


def _given(name: str, arrays: Mapping[str, object], key: str) -> np.ndarray:
    if key not in arrays:
        raise DataError(f"{name}: {MISSING} {key}")
    return np.asarray(arrays[key])
