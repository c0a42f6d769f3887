"""Files below a root: a folder of this machine, or a place that fsspec reaches."""

import hashlib
from pathlib import Path
from urllib.parse import quote

import fsspec  # type: ignore[import-untyped]

from hpo_gn.errors import ArgumentError, CheckpointError
from hpo_gn.local_files import LocalFiles
from hpo_gn.remote_files import RemoteFiles, protocols_of, shown

_RULE = "a folder or an fsspec URL, such as s3://bucket/folder"
_LONGEST = 200
"""Characters of a path's component; most file systems take 255 bytes."""


def open_files(name: str, root: str) -> LocalFiles | RemoteFiles:
    """The files below a root; nothing is read, written or connected to yet.

    Args:
        name: what an error calls the root.
        root: a folder, or an fsspec URL.

    Raises:
        ArgumentError: it is neither; no password in it is shown.
        CheckpointError: the package that its protocol needs is missing.
    """
    if root and "://" not in root:
        return LocalFiles(Path(root))
    if protocols_of(root) in (["file"], ["local"]):
        return LocalFiles(Path(root.partition("://")[2]))
    if not all(protocols_of(root)):
        raise ArgumentError(name, _RULE, shown(root))
    try:
        for protocol in protocols_of(root):
            fsspec.get_filesystem_class(protocol)
    except ImportError as error:
        raise CheckpointError(f"{name} {shown(root)!r} cannot be used: {error}") from None
    except ValueError:
        raise ArgumentError(name, _RULE, shown(root)) from None
    if set(root) & set("*?["):  # fsspec would take them for a pattern when it moves or removes a file
        raise ArgumentError(name, "a URL without any of * ? [", shown(root))
    return RemoteFiles(root)


def below(root: str, name: str) -> str:
    """A root below another; the name is escaped, so that it leads nowhere else."""
    # In a chain such as dir://folder::file:///disk the first path is where the files are.
    end = root.find("::", root.index("://")) if "://" in root else -1
    first, rest = (root, "") if end < 0 else (root[:end], root[end:])
    return f"{first}{'' if first.endswith('/') else '/'}{as_component(name)}{rest}"


def as_component(name: str) -> str:
    """Any name as one harmless component of a path, no longer than file systems take."""
    escaped = quote(name, safe="") or "%"
    if len(escaped) > _LONGEST:
        escaped = f"{escaped[:_LONGEST]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    return escaped.replace(".", "%2E") if set(escaped) == {"."} else escaped
