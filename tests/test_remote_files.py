import socket
import traceback

import fsspec
import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem

from hpo_gn.checkpoint import Checkpoint, Checkpoints
from hpo_gn.errors import CheckpointError
from hpo_gn.remote_files import RemoteFiles, UnreachableError


class Flaky(MemoryFileSystem):
    """A server: an instance is a connection that keeps listings, and the broken ones are counted down."""

    protocol = "flaky"
    broken = 0

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.is_broken, self.kept = False, {}

    def invalidate_cache(self, path=None):
        self.kept.clear()

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol("/" + path.rpartition("@")[2])

    def _reached(self):
        if Flaky.broken > 0:
            self.is_broken = True
            Flaky.broken -= 1
        if self.is_broken:
            raise RuntimeError("host.example refuses user me with hunter@2, or hunter%402\nin two lines")

    def pipe_file(self, path, value, **options):
        if not self.isdir(self._parent(path)):
            raise RuntimeError("550 Failed")
        super().pipe_file(path, value, **options)

    def cat_file(self, *arguments, **options):
        self._reached()
        return super().cat_file(*arguments, **options)

    def ls(self, path, detail=True, **options):
        self._reached()
        if (path, detail) not in self.kept:
            self.kept[path, detail] = super().ls(path, detail, **options)
        return self.kept[path, detail]


@pytest.fixture
def flaky():
    fsspec.register_implementation("flaky", Flaky, clobber=True)
    yield "flaky://me:hunter%402@host.example/x"
    Flaky.broken = 0
    Flaky.clear_instance_cache()
    RemoteFiles("flaky://me:hunter%402@host.example/x").clear()


def test_a_connection_that_broke_is_made_anew(flaky):
    files = RemoteFiles(flaky)
    files.write("folder/name", b"data")
    for _ in range(2):
        Flaky.broken = 1
        assert files.read("folder/name") == b"data"
        Flaky.broken = 1
        assert files.names("folder") == ["name"]
    assert Flaky.broken == 0


def test_a_place_that_does_not_answer_is_not_an_empty_one(flaky):
    files = RemoteFiles(flaky)
    Flaky.broken = 10
    for call in (lambda: files.read("name"), lambda: files.names("folder")):
        with pytest.raises(UnreachableError) as refused:
            call()
        assert str(refused.value) == "host.example refuses user me with ***, or ***"
    assert Flaky.broken == 6


@pytest.mark.parametrize(
    ("call", "done"),
    [
        (lambda checkpoints: checkpoints.latest(0), "the checkpoints of trial 0 at {} cannot be read"),
        (lambda checkpoints: checkpoints.check("x"), "the checkpoints at {} cannot be read"),
        (lambda checkpoints: checkpoints.claim("x"), "the checkpoints at {} cannot be written"),
        (lambda checkpoints: checkpoints.rewind(0, 0), "the checkpoints of trial 0 at {} cannot be removed"),
    ],
    ids=["latest", "check", "claim", "rewind"],
)
def test_no_trial_begins_anew_because_a_place_does_not_answer(flaky, call, done):
    checkpoints = Checkpoints(flaky)
    checkpoints.save(0, Checkpoint(1, {"weight": torch.zeros(1)}))
    Flaky.broken = 10
    with pytest.raises(CheckpointError) as refused:
        call(checkpoints)
    place = done.format("flaky://me:***@host.example/x")
    assert str(refused.value) == f"{place}: host.example refuses user me with ***, or ***"
    assert "hunter" not in "".join(traceback.format_exception(refused.value))


def test_no_password_is_shown_of_a_server_that_is_not_there():
    password = "hunter2"
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and nobody listens
        host = f"127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(CheckpointError) as refused:
            Checkpoints(f"ftp://me:{password}@{host}/x").latest(0)
    expected = f"the checkpoints of trial 0 at ftp://me:***@{host}/x cannot be read: Connection refused"
    assert str(refused.value) == expected
    assert password not in "".join(traceback.format_exception(refused.value))


def test_what_other_workers_wrote_is_listed(flaky):
    files = RemoteFiles(flaky)
    files.write("folder/mine", b"data")
    assert files.names("folder") == ["mine"]
    MemoryFileSystem().pipe_file("/host.example/x/folder/theirs", b"data")
    assert sorted(files.names("folder")) == ["mine", "theirs"]
