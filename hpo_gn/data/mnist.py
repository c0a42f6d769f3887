"""MNIST (LeCun et al. 1998) and Fashion-MNIST (Xiao et al. 2017): 60,000 + 10,000 grey images of 28 × 28."""

from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from hpo_gn.data.dataset import DataSet, OfficialSplit
from hpo_gn.data.files import download, existing, folders
from hpo_gn.data.idx import read_idx
from hpo_gn.errors import DataError

FILES = {
    "train": ("train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"),
    "test": ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"),
}
MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist/"
FASHION_MNIST = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
DEBIAN = "/usr/share/datasets/fashion-mnist"
MD5 = {
    MNIST: {
        "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
    },
    FASHION_MNIST: {
        "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
    },
}


def mnist(root: Path | None = None) -> DataSet:
    """Handwritten digits, uint8 [N, 1, 28, 28], 10 classes.

    Args:
        root: data root; the IDX files, gzip or not, are looked for there and in its folder "mnist".
    """
    return DataSet("mnist", 10, partial(_read, "mnist", MNIST, root, ()))


def fashion_mnist(root: Path | None = None) -> DataSet:
    """Articles of clothing, uint8 [N, 1, 28, 28], 10 classes.

    Args:
        root: data root; the IDX files, gzip or not, are looked for there, in its folder "fashion-mnist", and
            where Debian's package dataset-fashion-mnist puts them.
    """
    return DataSet("fashion-mnist", 10, partial(_read, "fashion-mnist", FASHION_MNIST, root, (DEBIAN,)))


def _read(
    name: str, address: str, root: Path | None, others: tuple[str, ...], split: OfficialSplit
) -> tuple[Tensor, Tensor]:
    places = folders(name, root, *others)
    paths = [
        existing(places, (file, file.removesuffix(".gz")))
        or download(name, address + file, MD5[address][file], places)
        for file in FILES[split]
    ]
    images, labels = read_idx(paths[0], 3), read_idx(paths[1], 1)
    if len(images) != len(labels):
        raise DataError(f"{paths[0]} has {len(images)} images but {paths[1]} {len(labels)} labels")
    return torch.tensor(images).unsqueeze(1), torch.tensor(labels, dtype=torch.int64)
