"""Files in a folder of this machine."""

import os
import shutil
import uuid
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

TEMPORARY = ".tmp"
"""How the name of a half-written file ends."""


def temporary_name(name: str) -> str:
    """A name to write a file under before it is moved to its own; no two writers share one."""
    return f"{name}.{uuid.uuid4().hex}{TEMPORARY}"


@dataclass(frozen=True)
class LocalFiles:
    """The files in a folder of this machine: what was written is on the disk, whole, or not there.

    Args:
        root: the folder, which need not be there.
    """

    root: Path

    def __str__(self) -> str:
        return str(self.root)

    def write(self, name: str, data: bytes) -> None:
        """Write a file, and the folders it is in."""
        path = self.root / name
        temporary = path.with_name(temporary_name(path.name))
        _make_folder(path.parent)
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except OSError as error:  # a full disk does not say where
            raise OSError(error.errno, error.strerror, error.filename or str(path)) from None
        finally:
            temporary.unlink(missing_ok=True)
        _sync_folder(path.parent)

    def read(self, name: str) -> bytes:
        """What is in a file."""
        return (self.root / name).read_bytes()

    def names(self, folder: str) -> list[str]:
        """What is in a folder; nothing if there is none."""
        with suppress(FileNotFoundError):
            return os.listdir(self.root / folder)
        return []

    def remove(self, names: Iterable[str]) -> None:
        """Remove files, whether they are there or not."""
        for name in names:
            (self.root / name).unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove the root and everything in it."""
        with suppress(FileNotFoundError):
            shutil.rmtree(self.root)


def _make_folder(folder: Path) -> None:
    if not folder.exists():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
