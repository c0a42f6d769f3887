"""Files in a place that fsspec reaches, and what of its URL may be shown."""

import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import PurePosixPath
from typing import Any, TypeVar
from urllib.parse import unquote

import fsspec  # type: ignore[import-untyped]

from hpo_gn.local_files import temporary_name

_Answer = TypeVar("_Answer")
_PASSWORD = re.compile(r"(?<=://)([^/@:]*):(.*)@", re.DOTALL)
_OPTIONS = re.compile(r"\?.*", re.DOTALL)


class UnreachableError(OSError):
    """A place that does not answer, which says nothing about the files there."""


def shown(url: str) -> str:
    """A root as text that may be logged: passwords and options are hidden."""
    return _OPTIONS.sub("?***", _PASSWORD.sub(r"\1:***@", url))


def protocols_of(url: str) -> list[str]:
    """What a URL goes through: more than one in a chain such as dir://folder::file:///disk."""
    return [part.partition("://")[0] for part in url.split("::")]


@dataclass(frozen=True)
class RemoteFiles:
    """The files in a place that fsspec reaches.

    Every method raises UnreachableError if the place does not answer.

    Args:
        url: the place; its password is nowhere shown.
    """

    url: str = field(repr=False)

    def __str__(self) -> str:
        return shown(self.url)

    def write(self, name: str, data: bytes) -> None:
        """Write a file, and the folders it is in. An object store's move is a copy, which appears whole.

        Where a move does not replace, as on SMB, a file that is there cannot be written again.
        """
        self._do(partial(_write, name, data))

    def read(self, name: str) -> bytes:
        """What is in a file."""
        return self._do(lambda system, root: bytes(system.cat_file(f"{root}/{name}")))

    def names(self, folder: str) -> list[str]:
        """What is in a folder; nothing if there is none."""
        with suppress(FileNotFoundError):
            found = self._do(lambda system, root: system.ls(f"{root}/{folder}", detail=False))
            return [PurePosixPath(path).name for path in found]
        return []

    def remove(self, names: Iterable[str]) -> None:
        """Remove files, whether they are there or not."""
        for name in names:
            with suppress(FileNotFoundError):
                self._do(partial(_remove, name))

    def clear(self) -> None:
        """Remove the root and everything in it."""
        with suppress(FileNotFoundError):
            self._do(lambda system, root: system.rm(root, recursive=True))

    def _do(self, call: Callable[[Any, str], _Answer]) -> _Answer:
        with suppress(UnreachableError):
            return self._try(call)
        # A connection that broke in an hour's epoch stays in fsspec's cache of file systems.
        for protocol in protocols_of(self.url):
            fsspec.get_filesystem_class(protocol).clear_instance_cache()
        return self._try(call)

    def _try(self, call: Callable[[Any, str], _Answer]) -> _Answer:
        try:
            system, root = fsspec.url_to_fs(self.url)
            system.invalidate_cache()  # other workers write there too
            return call(system, root.rstrip("/"))
        except (FileNotFoundError, IsADirectoryError):
            raise
        except Exception as error:  # each file system has its own
            reason = getattr(error, "strerror", None) or str(error).strip() or type(error).__name__
            raise UnreachableError(_without_secrets(reason.splitlines()[0], self.url)) from None


def _write(name: str, data: bytes, system: Any, root: str) -> None:
    temporary = f"{root}/{temporary_name(name)}"
    try:
        try:
            system.pipe_file(temporary, data)
        except Exception:  # perhaps there is no such folder; some file systems do not say what failed
            system.makedirs(temporary.rpartition("/")[0], exist_ok=True)
            system.pipe_file(temporary, data)
        system.mv(temporary, f"{root}/{name}")
    except BaseException:
        with suppress(Exception):
            system.rm_file(temporary)
        raise


def _remove(name: str, system: Any, root: str) -> None:
    system.rm_file(f"{root}/{name}")


def _without_secrets(text: str, url: str) -> str:
    for part in (url, *url.split("::")):
        if (found := _PASSWORD.search(part)) and found[2]:
            text = text.replace(found[2], "***").replace(unquote(found[2]), "***")
    return text
