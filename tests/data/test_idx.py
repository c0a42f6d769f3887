import gzip

import numpy as np
import pytest

from hpo_gn.data.idx import read_idx
from hpo_gn.errors import DataError

ARRAY = np.arange(24).reshape(2, 3, 4)
HEADER = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4])
GOOD = HEADER + bytes(range(24))


@pytest.mark.parametrize("name", ["images", "images.gz"])
def test_an_array_is_read_whether_compressed_or_not(tmp_path, write_idx, name):
    write_idx(tmp_path / name, ARRAY)
    read = read_idx(tmp_path / name, 3)
    assert read.dtype == np.uint8
    assert (read == ARRAY).all()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an IDX file of 3 dimensions of bytes, which begins with 00000803, got nothing"),
        (b"<html>", "which begins with 00000803, got 3c68746d"),
        (bytes([0, 0, 8, 1]) + GOOD[4:], "got 00000801"),
        (bytes([0, 0, 13, 3]) + GOOD[4:], "got 00000d03"),
        (HEADER[:8], "not an IDX file"),
        (GOOD[:-1], r"damaged, \[2, 3, 4\] needs 24 bytes of values, got 23"),
        (GOOD + b"x", r"damaged, \[2, 3, 4\] needs 24 bytes of values, got 25"),
        (gzip.compress(GOOD, mtime=0)[:-9], "cannot be read"),
        (b"\x1f\x8bnonsense", "cannot be read"),
    ],
)
def test_a_damaged_file_is_refused_with_its_name_and_the_reason(tmp_path, content, message):
    path = tmp_path / "images"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_idx(path, 3)
    assert str(caught.value).startswith(f"{path}: ")


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_idx(tmp_path / "none", 3)
