"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009), binary version: 50,000 + 10,000 colour images of 32 × 32."""

import tarfile
import zlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from hpo_gn.data.augmentation import crop_and_flip
from hpo_gn.data.dataset import DataSet, OfficialSplit
from hpo_gn.data.files import download, existing, folders
from hpo_gn.errors import DataError

ADDRESS = "https://www.cs.toronto.edu/~kriz/"
PIXELS = 3 * 32 * 32


@dataclass(frozen=True)
class Version:
    """One of the two data sets' binary version.

    Args:
        name: the data set's.
        classes: number of classes.
        archive: file at the official address.
        md5: the archive's checksum.
        folder: what the archive unpacks to.
        files: each split's files in the folder.
        labels: bytes before an image's pixels; the last of them is the label used.
    """

    name: str
    classes: int
    archive: str
    md5: str
    folder: str
    files: dict[str, tuple[str, ...]]
    labels: int


CIFAR10 = Version(
    name="cifar10",
    classes=10,
    archive="cifar-10-binary.tar.gz",
    md5="c32a1d4ab5d03f1284b67883e8d87530",
    folder="cifar-10-batches-bin",
    files={"train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)), "test": ("test_batch.bin",)},
    labels=1,
)
CIFAR100 = Version(
    name="cifar100",
    classes=100,
    archive="cifar-100-binary.tar.gz",
    md5="03b5dce01913d631647c71ecec9e9cb8",
    folder="cifar-100-binary",
    files={"train": ("train.bin",), "test": ("test.bin",)},
    labels=2,
)


def cifar10(root: Path | None = None) -> DataSet:
    """Animals and vehicles, uint8 [N, 3, 32, 32], 10 classes, augmented by crops and flips.

    Args:
        root: data root; the archive, or the folder it unpacks to, is looked for there and in its folder
            "cifar10".
    """
    return _data_set(CIFAR10, root)


def cifar100(root: Path | None = None) -> DataSet:
    """Things and beings, uint8 [N, 3, 32, 32], the 100 fine classes, augmented by crops and flips.

    Args:
        root: data root; the archive, or the folder it unpacks to, is looked for there and in its folder
            "cifar100".
    """
    return _data_set(CIFAR100, root)


def _data_set(version: Version, root: Path | None) -> DataSet:
    return DataSet(version.name, version.classes, partial(_read, version, root), crop_and_flip)


def _read(version: Version, root: Path | None, split: OfficialSplit) -> tuple[Tensor, Tensor]:
    places = folders(version.name, root)
    path = existing(places, (version.folder, version.archive))
    path = path or download(version.name, ADDRESS + version.archive, version.md5, places)
    read = _from_folder if path.is_dir() else _from_archive
    rows = np.concatenate([_rows(version, where, content) for where, content in read(version, path, split)])
    images = torch.from_numpy(rows[:, version.labels :].reshape(-1, 3, 32, 32))
    return images, torch.from_numpy(rows[:, version.labels - 1].astype(np.int64))


def _from_folder(version: Version, path: Path, split: OfficialSplit) -> list[tuple[str, bytes]]:
    try:
        return [(str(path / file), (path / file).read_bytes()) for file in version.files[split]]
    except OSError as error:
        raise DataError(f"{path}: cannot be read, {error}") from error


def _from_archive(version: Version, path: Path, split: OfficialSplit) -> list[tuple[str, bytes]]:
    members = []
    try:
        with tarfile.open(path) as archive:
            for file in version.files[split]:
                member = archive.extractfile(f"{version.folder}/{file}")
                members.append((f"{path}, {file}", member.read() if member else b""))
    except (OSError, EOFError, KeyError, tarfile.TarError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read, {error}") from error
    return members


def _rows(version: Version, where: str, content: bytes) -> np.ndarray:
    """The images of a file, uint8 [N, labels + pixels]."""
    row = version.labels + PIXELS
    if not content or len(content) % row:
        raise DataError(f"{where}: damaged, the size must be a multiple of {row} bytes, got {len(content)}")
    return np.frombuffer(content, np.uint8).reshape(-1, row)
