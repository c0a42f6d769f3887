"""What every test shares: one thread, and the real data."""

import os
from collections.abc import Callable
from functools import cache
from unittest.mock import patch

import pytest
import torch

from hpo_gn.data import DataSet, open_data
from hpo_gn.errors import DataError


def pytest_configure() -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # for the processes that tests start
    torch.set_num_threads(1)


class NotDownloadedError(OSError):
    """Stands in for the download that no test may start."""


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], DataSet]:
    """A function: name → data set. Skips the test when the files are not there; with CI=true fails it."""

    @cache
    def require(name: str) -> DataSet:
        data = open_data(name)
        with patch("pooch.retrieve", side_effect=NotDownloadedError):
            for split in ("train", "test"):
                data.read(split)
        return data

    def require_or_skip(name: str) -> DataSet:
        try:
            return require(name)
        except DataError as error:
            if not isinstance(error.__cause__, NotDownloadedError):
                raise
            (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(
                f"no {name}: run tests/fetch_data.py"
            )

    return require_or_skip
