import hashlib

import numpy as np
import pytest
import torch

from hpo_gn.data import mnist as module
from hpo_gn.data.mnist import fashion_mnist, mnist
from hpo_gn.errors import DataError

IMAGES = np.arange(3 * 28 * 28).reshape(3, 28, 28) % 251


@pytest.mark.parametrize("folder", [".", "mnist"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_files_are_found_in_the_root_and_its_folder_compressed_or_not(tmp_path, write_idx, folder, suffix):
    write_idx(tmp_path / folder / f"train-images-idx3-ubyte{suffix}", IMAGES)
    write_idx(tmp_path / folder / f"train-labels-idx1-ubyte{suffix}", np.array([5, 0, 9]))
    inputs, targets = mnist(tmp_path).read("train")
    assert inputs.dtype == torch.uint8
    assert (inputs[:, 0].numpy() == IMAGES).all()
    assert targets.tolist() == [5, 0, 9]


def test_reading_one_split_does_not_touch_the_other(tmp_path, write_idx):
    write_idx(tmp_path / "train-images-idx3-ubyte", IMAGES)
    write_idx(tmp_path / "train-labels-idx1-ubyte", np.array([5, 0, 9]))
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(b"damaged")
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(b"damaged")
    mnist(tmp_path).read("train")
    with pytest.raises(DataError, match="t10k-images"):
        mnist(tmp_path).read("test")


def test_fashion_mnist_is_found_where_debian_puts_it(tmp_path, write_idx, monkeypatch, no_download):
    monkeypatch.setattr(module, "DEBIAN", str(tmp_path / "debian"))
    write_idx(tmp_path / "debian" / "t10k-images-idx3-ubyte.gz", IMAGES)
    write_idx(tmp_path / "debian" / "t10k-labels-idx1-ubyte.gz", np.array([5, 0, 9]))
    assert fashion_mnist(tmp_path / "root").read("test")[1].tolist() == [5, 0, 9]
    with pytest.raises(DataError, match=r"mnist: t10k-images-idx3-ubyte\.gz is not in"):
        mnist(tmp_path / "root").read("test")


def test_images_and_labels_must_be_as_many(tmp_path, write_idx):
    write_idx(tmp_path / "train-images-idx3-ubyte", IMAGES)
    write_idx(tmp_path / "train-labels-idx1-ubyte", np.array([5, 0]))
    with pytest.raises(DataError, match=r"has 3 images but .* 2 labels"):
        mnist(tmp_path).read("train")


def test_the_real_mnist_has_its_official_statistics(real_data):
    data = real_data("mnist")
    inputs, targets = data.read("train")
    assert inputs.shape == (60_000, 1, 28, 28)
    assert targets[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert inputs.sum().item() / inputs.numel() / 255 == pytest.approx(0.1306605, abs=1e-7)
    assert data.read("test")[0].shape == (10_000, 1, 28, 28)


def test_the_real_fashion_mnist_is_the_official_bytes(real_data):
    data = real_data("fashion-mnist")
    inputs, targets = data.read("train")
    header = bytes([0, 0, 8, 3]) + np.array([60_000, 28, 28], ">u4").tobytes()
    official = "f4a8712d7a061bf5bd6d2ca38dc4d50a"
    assert hashlib.md5(header + inputs.numpy().tobytes()).hexdigest() == official
    assert targets.bincount().tolist() == [6000] * 10
    assert data.read("test")[1].bincount().tolist() == [1000] * 10
