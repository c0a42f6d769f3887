"""Where the files of a data set are: under the data root, or downloaded there from their official address."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import pooch  # type: ignore[import-untyped]

from hpo_gn.errors import DataError


def data_root(root: Path | None) -> Path:
    """`root`, else the folder that HPO_GN_DATA names, else hpo_gn's folder in the user's cache."""
    return Path(root or os.environ.get("HPO_GN_DATA") or pooch.os_cache("hpo_gn"))


def folders(name: str, root: Path | None, *others: str) -> list[Path]:
    """Where to look for a data set: the data root, its folder of the data set's name, and others."""
    base = data_root(root)
    return [base / name, base, *map(Path, others)]


def existing(places: Iterable[Path], names: Sequence[str]) -> Path | None:
    """The first of the names that is in the first of the places to have one; None if none has."""
    paths = (place / name for place in places for name in names)
    return next((path for path in paths if path.exists()), None)


def download(name: str, url: str, md5: str, places: Sequence[Path]) -> Path:
    """Fetch a file into the first of the places, with a progress bar, and check it.

    Args:
        name: the data set, which begins the message.
        url: official address; its last part is the file's name.
        md5: checksum of the file.
        places: where the file was looked for.

    Raises:
        DataError: the file cannot be had; says what was tried and where to put it.
    """
    file = url.rsplit("/", 1)[1]
    try:
        return Path(pooch.retrieve(url, f"md5:{md5}", fname=file, path=places[0], progressbar=True))
    except (OSError, ValueError) as error:
        looked = ", ".join(map(str, places))
        reason = "another checksum" if isinstance(error, ValueError) else type(error).__name__
        raise DataError(
            f"{name}: {file} is not in {looked}, and {url} cannot be downloaded ({reason}); "
            f"put the file into {places[0]}, or name its folder in HPO_GN_DATA"
        ) from error
