"""Checkpoints: a trial's state after an epoch, which no crash while writing can spoil."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hpo_gn.checkpoint_format import Checkpoint, DamagedError, decode, encode
from hpo_gn.errors import CheckpointError
from hpo_gn.file_store import below, open_files
from hpo_gn.local_files import TEMPORARY
from hpo_gn.remote_files import UnreachableError

__all__ = ["Checkpoint", "Checkpoints"]

_KEPT = 2
_NAME = re.compile(rf"epoch-(?P<epoch>0|[1-9][0-9]*)\.pt(?P<left>\..*{re.escape(TEMPORARY)})?")
_MARKER = "study"


class Checkpoints:
    """The checkpoints of a study's trials, one folder a trial, the last two generations kept.

    A checkpoint is written under a temporary name, synced and moved; it starts with the SHA-256 of its
    contents and is read with `weights_only=True`, so nothing in it is executed. As text it is the root, with
    passwords hidden.

    Args:
        root: the study's folder, or an fsspec URL such as "s3://bucket/folder".

    Raises:
        ArgumentError: the root is neither.
        CheckpointError: the package that the URL needs is missing.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = str(root)
        """As it was given, with its password: not to be shown."""
        self._files = open_files("checkpoints", self.root)

    def __str__(self) -> str:
        return str(self._files)

    def __repr__(self) -> str:
        return f"Checkpoints({str(self)!r})"

    def at(self, name: str) -> "Checkpoints":
        """Those in a folder below, whatever its name: it is escaped, so that it leads nowhere else."""
        return Checkpoints(below(self.root, name))

    def claim(self, token: str) -> None:
        """Leave the study's mark, unless there is one, whoever's it is.

        Raises:
            CheckpointError: it cannot be written.
        """
        with _explained(f"the checkpoints at {self} cannot be written"):
            if self._mark() is None:
                self._files.write(_MARKER, token.encode())

    def begin(self, token: str) -> None:
        """Take an empty place, or one that an earlier search marked, for a study's checkpoints.

        Raises:
            CheckpointError: it holds something else, or cannot be written.
        """
        with _explained(f"the checkpoints at {self} cannot be written"):
            if self._mark() is not None:
                self._files.clear()
            elif self._files.names(""):
                raise CheckpointError(
                    f"the checkpoints at {self} would be among somebody's files: "
                    "give --checkpoints an empty place"
                )
            self._files.write(_MARKER, token.encode())

    def check(self, token: str) -> None:
        """Make sure that these are the study's, as seen from this machine.

        Raises:
            CheckpointError: its mark is not there, or is another's.
        """
        with _explained(f"the checkpoints at {self} cannot be read"):
            found = self._mark()
        if found != token.encode():
            raise CheckpointError(
                f"the checkpoints at {self} are not those of this study: "
                "give --checkpoints a place that all workers reach"
            )

    def save(self, trial: int, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, and drop all but the trial's two of the largest epochs.

        Only the worker that holds the trial should write. One that wakes after its lease cannot destroy what
        its successor wrote of later epochs.

        Raises:
            CheckpointError: it cannot be written, as on a full disk; what was there is untouched.
        """
        data = encode(checkpoint)
        with _explained(f"checkpoint {_describe(trial, checkpoint.epoch)} cannot be written"):
            self._files.write(_path(trial, checkpoint.epoch), data)
            old = self._epochs(trial)[:-_KEPT]
            self._files.remove(_path(trial, epoch) for epoch in old)

    def rewind(self, trial: int, epoch: int) -> None:
        """Prepare for a trial that starts after `epoch`: remove what there is of later epochs, which was
        damaged or did not fit, and what killed writers left.

        Only the worker that holds the trial may do so.

        Args:
            trial: the trial's number.
            epoch: the epoch it starts after; 0 at its beginning.

        Raises:
            CheckpointError: something cannot be removed.
        """
        with _explained(f"the checkpoints of trial {trial} at {self} cannot be removed"):
            gone = [name for name in self._files.names(_folder(trial)) if _is_after(name, epoch)]
            self._files.remove(f"{_folder(trial)}/{name}" for name in gone)

    def latest(self, trial: int, *, upto: int | None = None) -> Checkpoint | None:
        """The newest readable checkpoint of a trial; a damaged one is warned of and the one before it used.

        Args:
            trial: the trial's number.
            upto: the largest epoch that will do.

        Raises:
            CheckpointError: their place does not answer, so that nobody knows whether there are any.
        """
        with _explained(f"the checkpoints of trial {trial} at {self} cannot be read"):
            for epoch in reversed(self._epochs(trial)):
                if upto is not None and epoch > upto:
                    continue
                try:
                    return self._read(trial, epoch)
                except FileNotFoundError:  # its worker dropped it in this moment
                    continue
                except DamagedError as error:
                    name = _describe(trial, epoch)
                    warnings.warn(f"checkpoint {name} {error}; trying the one before it", stacklevel=2)
        return None

    def discard(self) -> None:
        """Remove the root and everything in it, other studies' checkpoints included if they are below it."""
        try:
            self._files.clear()
        except OSError as error:
            warnings.warn(f"the checkpoints at {self} cannot be removed: {_reason(error)}", stacklevel=2)

    def _mark(self) -> bytes | None:
        try:
            return self._files.read(_MARKER)
        except FileNotFoundError:
            return None

    def _epochs(self, trial: int) -> list[int]:
        found = map(_NAME.fullmatch, self._files.names(_folder(trial)))
        return sorted(int(name["epoch"]) for name in found if name and not name["left"])

    def _read(self, trial: int, epoch: int) -> Checkpoint:
        try:
            data = self._files.read(_path(trial, epoch))
        except (UnreachableError, FileNotFoundError):
            raise
        except OSError as error:
            raise DamagedError(f"cannot be read: {_reason(error)}") from error
        return decode(data)


def _is_after(name: str, epoch: int) -> bool:
    found = _NAME.fullmatch(name)
    return found is not None and (found["left"] is not None or int(found["epoch"]) > epoch)


@contextmanager
def _explained(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CheckpointError(f"{what}: {_reason(error)}") from error


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


def _folder(trial: int) -> str:
    return f"trial-{trial}"


def _path(trial: int, epoch: int) -> str:
    return f"{_folder(trial)}/epoch-{epoch}.pt"


def _describe(trial: int, epoch: int) -> str:
    return f"epoch-{epoch}.pt of {_folder(trial)}"
