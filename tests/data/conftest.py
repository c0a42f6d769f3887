import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def no_download(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes every download fail as it does without a network."""

    def refuse(url: str, *args: object, **kwargs: object) -> str:
        raise ConnectionError("no network")

    monkeypatch.setattr("pooch.retrieve", refuse)


@pytest.fixture
def write_idx() -> Callable[[Path, np.ndarray], None]:
    """A function that writes an array of bytes as an IDX file, compressed if its name ends in .gz."""

    def write(path: Path, array: np.ndarray) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
        content = header + array.astype(np.uint8).tobytes()
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)

    return write
