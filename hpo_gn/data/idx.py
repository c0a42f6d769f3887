"""The IDX format of MNIST and its likes: two zero bytes, a type, the number of dimensions, sizes, values."""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hpo_gn.errors import DataError

GZIP_MAGIC = b"\x1f\x8b"
UNSIGNED_BYTE = 0x08


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The array in an IDX file of unsigned bytes, compressed by gzip or not.

    Args:
        path: the file.
        dimensions: how many the array must have: 3 for images, 1 for labels.

    Raises:
        DataError: the file cannot be read, is of another kind, or is truncated.
    """
    content = _content(path)
    header = 4 + 4 * dimensions
    magic = bytes([0, 0, UNSIGNED_BYTE, dimensions])
    if content[:4] != magic or len(content) < header:
        raise DataError(
            f"{path}: not an IDX file of {dimensions} dimensions of bytes, "
            f"which begins with {magic.hex()}, got {content[:4].hex() or 'nothing'}"
        )
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", dimensions, 4))
    if len(content) - header != math.prod(shape):
        needed = f"{list(shape)} needs {math.prod(shape)} bytes of values"
        raise DataError(f"{path}: damaged, {needed}, got {len(content) - header}")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _content(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content.startswith(GZIP_MAGIC) else content
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read, {error}") from error
