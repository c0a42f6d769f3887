import numpy as np
import pytest
from scipy.io import savemat

from hpo_gn.data.svhn import svhn
from hpo_gn.errors import DataError

IMAGES = np.random.default_rng(0).integers(256, size=(32, 32, 3, 4), dtype=np.uint8)
LABELS = np.array([[10], [1], [9], [10]], np.uint8)


@pytest.mark.parametrize("folder", [".", "svhn"])
def test_images_are_channels_first_and_label_ten_is_the_digit_zero(tmp_path, folder):
    (tmp_path / folder).mkdir(exist_ok=True)
    savemat(tmp_path / folder / "train_32x32.mat", {"X": IMAGES, "y": LABELS})
    inputs, targets = svhn(tmp_path).read("train")
    assert inputs.shape == (4, 3, 32, 32)
    assert inputs.is_contiguous()
    for n, channel, row, column in ((0, 0, 0, 0), (3, 2, 31, 0), (1, 1, 5, 17)):
        assert inputs[n, channel, row, column] == IMAGES[row, column, channel, n]
    assert targets.tolist() == [0, 1, 9, 0]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": IMAGES}, "damaged, no y of 2 dimensions"),
        ({"y": LABELS}, "damaged, no X of 4 dimensions"),
        ({"X": IMAGES[0], "y": LABELS}, "damaged, no X of 4 dimensions"),
        ({"X": IMAGES, "y": LABELS[:3]}, "4 inputs but 3 targets"),
        ({"X": IMAGES, "y": LABELS + 1}, "labels must be 0 to 9, got 11"),
    ],
)
def test_a_file_with_other_content_is_refused(tmp_path, arrays, message):
    savemat(tmp_path / "test_32x32.mat", arrays)
    with pytest.raises(DataError, match=message):
        svhn(tmp_path).read("test")


@pytest.mark.parametrize("size", [0, 100, 130, 2000])
def test_a_truncated_file_is_refused_with_its_name(tmp_path, size):
    path = tmp_path / "train_32x32.mat"
    savemat(path, {"X": IMAGES, "y": LABELS}, do_compression=True)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DataError, match=r"train_32x32\.mat: "):
        svhn(tmp_path).read("train")
