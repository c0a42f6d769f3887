import tarfile

import numpy as np
import pytest
import torch

from hpo_gn.data.augmentation import crop_and_flip
from hpo_gn.data.cifar import cifar10, cifar100
from hpo_gn.data.moments import channel_moments
from hpo_gn.errors import DataError

PIXELS = np.random.default_rng(0).integers(256, size=(2, 3072), dtype=np.uint8)


def rows(*labels: list[int]) -> bytes:
    """Two images with one list of label bytes each."""
    return b"".join(bytes(label) + pixels.tobytes() for label, pixels in zip(labels, PIXELS, strict=True))


@pytest.fixture
def unpacked(tmp_path):
    """The data root with both data sets unpacked, two images a file."""
    ten, hundred = tmp_path / "cifar-10-batches-bin", tmp_path / "cifar100" / "cifar-100-binary"
    ten.mkdir()
    hundred.mkdir(parents=True)
    for i in range(1, 6):
        (ten / f"data_batch_{i}.bin").write_bytes(rows([i], [9]))
    (ten / "test_batch.bin").write_bytes(rows([7], [8]))
    (hundred / "train.bin").write_bytes(rows([19, 99], [3, 42]))
    (hundred / "test.bin").write_bytes(rows([0, 1], [1, 2]))
    return tmp_path


@pytest.fixture
def packed(unpacked, tmp_path_factory):
    """The data root with both archives."""
    root = tmp_path_factory.mktemp("packed")
    for archive, folder in (
        ("cifar-10-binary.tar.gz", unpacked / "cifar-10-batches-bin"),
        ("cifar-100-binary.tar.gz", unpacked / "cifar100" / "cifar-100-binary"),
    ):
        with tarfile.open(root / archive, "w:gz") as tar:
            tar.add(folder, folder.name)
    return root


@pytest.mark.parametrize("form", ["unpacked", "packed"])
def test_the_folder_and_the_archive_give_the_same_samples(form, request):
    root = request.getfixturevalue(form)
    inputs, targets = cifar10(root).read("train")
    assert inputs.shape == (10, 3, 32, 32)
    assert inputs.dtype == torch.uint8
    assert (inputs[1].flatten().numpy() == PIXELS[1]).all()
    assert targets.tolist() == [1, 9, 2, 9, 3, 9, 4, 9, 5, 9]
    assert cifar10(root).read("test")[1].tolist() == [7, 8]


@pytest.mark.parametrize("form", ["unpacked", "packed"])
def test_cifar100_has_the_fine_labels(form, request):
    inputs, targets = cifar100(request.getfixturevalue(form)).read("train")
    assert targets.tolist() == [99, 42]
    assert (inputs[0].flatten().numpy() == PIXELS[0]).all()


def test_only_the_files_of_a_split_are_touched(unpacked):
    (unpacked / "cifar-10-batches-bin" / "test_batch.bin").unlink()
    cifar10(unpacked).read("train")
    with pytest.raises(DataError, match=r"test_batch\.bin"):
        cifar10(unpacked).read("test")


@pytest.mark.parametrize("content", [b"", rows([1], [2])[:-1]])
def test_a_truncated_file_is_refused(unpacked, content):
    (unpacked / "cifar-10-batches-bin" / "data_batch_3.bin").write_bytes(content)
    with pytest.raises(DataError, match=rf"data_batch_3\.bin: damaged, .* 3073 bytes, got {len(content)}$"):
        cifar10(unpacked).read("train")


@pytest.mark.parametrize("size", [0, 20, 200])
def test_a_damaged_archive_is_refused(packed, size):
    archive = packed / "cifar-10-binary.tar.gz"
    archive.write_bytes(archive.read_bytes()[:size])
    with pytest.raises(DataError, match=r"cifar-10-binary\.tar\.gz: cannot be read"):
        cifar10(packed).read("train")


def test_labels_above_the_last_class_are_refused(unpacked):
    (unpacked / "cifar-10-batches-bin" / "test_batch.bin").write_bytes(rows([7], [10]))
    with pytest.raises(DataError, match="cifar10, test split: labels must be 0 to 9, got 10"):
        cifar10(unpacked).read("test")


def test_both_are_augmented_by_crops_and_flips():
    assert cifar10().augmentation is crop_and_flip
    assert cifar100().augmentation is crop_and_flip


def test_the_real_cifar10_has_its_known_statistics(real_data):
    inputs, targets = real_data("cifar10").read("train")
    assert inputs.shape == (50_000, 3, 32, 32)
    assert targets[:5].tolist() == [6, 9, 9, 4, 1]
    assert targets.bincount().tolist() == [5000] * 10
    known = torch.tensor([0.49139968, 0.48215827, 0.44653124])
    assert torch.allclose(channel_moments(inputs)[0], known, atol=1e-7)
