"""Street View House Numbers (Netzer et al. 2011): 73,257 + 26,032 cropped digits, in colour, 32 × 32."""

from functools import partial
from pathlib import Path

import torch
from scipy.io import loadmat
from torch import Tensor

from hpo_gn.data.dataset import DataSet, OfficialSplit
from hpo_gn.data.files import download, existing, folders
from hpo_gn.errors import DataError

ADDRESS = "http://ufldl.stanford.edu/housenumbers/"
MD5 = {
    "train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373",
    "test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3",
}


def svhn(root: Path | None = None) -> DataSet:
    """House numbers' digits, uint8 [N, 3, 32, 32], 10 classes; the file's label 10 is the digit 0.

    Args:
        root: data root; the .mat files are looked for there and in its folder "svhn".
    """
    return DataSet("svhn", 10, partial(_read, root))


def _read(root: Path | None, split: OfficialSplit) -> tuple[Tensor, Tensor]:
    places = folders("svhn", root)
    file = f"{split}_32x32.mat"
    path = existing(places, (file,)) or download("svhn", ADDRESS + file, MD5[file], places)
    try:
        content = loadmat(path, variable_names=("X", "y"))
    # Damaged files make scipy raise anything: ValueError, TypeError, NotImplementedError, zlib.error.
    except Exception as error:
        raise DataError(f"{path}: cannot be read, {type(error).__name__}: {error}") from error
    for name, ndim in (("X", 4), ("y", 2)):
        if name not in content or content[name].ndim != ndim:
            raise DataError(f"{path}: damaged, no {name} of {ndim} dimensions in it")
    images = torch.from_numpy(content["X"]).permute(3, 2, 0, 1).contiguous()
    labels = torch.tensor(content["y"][:, 0], dtype=torch.int64)
    return images, torch.where(labels == 10, 0, labels)
