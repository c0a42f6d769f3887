import errno
import hashlib
import os
import pickle
import random
import warnings
from pathlib import Path

import fsspec
import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem

from hpo_gn.checkpoint import Checkpoint, Checkpoints
from hpo_gn.errors import CheckpointError

PLACES = {
    "a folder": "{}/checkpoints",
    "a folder's URL": "file://{}/checkpoints",
    "memory": "memory://{}/checkpoints",
    "a folder through fsspec": "dir://checkpoints::file://{}",
}


@pytest.fixture(params=PLACES.values(), ids=PLACES)
def checkpoints(request, tmp_path):
    place = Checkpoints(request.param.format(tmp_path))
    yield place
    place.discard()


@pytest.fixture
def local(tmp_path):
    return Checkpoints(tmp_path / "checkpoints")


def checkpoint(epoch):
    state = {"weight": torch.full((40, 3), float(epoch)), "step": epoch, "nested": {"betas": (0.9, 0.5)}}
    return Checkpoint(epoch, state)


class File:
    """A file of trial 0, as another program sees it."""

    def __init__(self, checkpoints, name):
        self.system, root = fsspec.url_to_fs(checkpoints.root)
        self.path = f"{root}/trial-0/{name}"

    def read(self):
        return self.system.cat_file(self.path)

    def write(self, data):
        self.system.pipe_file(self.path, bytes(data))


def files_of(checkpoints, trial):
    system, root = fsspec.url_to_fs(checkpoints.root)
    folder = f"{root}/trial-{trial}"
    found = system.ls(folder, detail=False) if system.exists(folder) else []
    return sorted(path.rpartition("/")[2] for path in found)


def signed(contents):
    return b"hpo_gn checkpoint 1\n" + hashlib.sha256(contents).hexdigest().encode() + b"\n" + contents


def test_what_is_saved_is_read(checkpoints):
    saved = Checkpoint(
        3,
        {
            "weight": torch.randn(5, 7, dtype=torch.float64),
            "half": torch.randn(2).bfloat16(),
            "generator": torch.Generator().get_state(),
            "optimizer": {"state": {0: {"momentum": None}}, "lrs": [0.1, 1e-300], "name": "sgd", "on": True},
        },
    )
    checkpoints.save(0, saved)
    read = checkpoints.latest(0)
    assert (read.epoch, read.state["optimizer"]) == (3, saved.state["optimizer"])
    for name in ("weight", "half", "generator"):
        assert read.state[name].dtype == saved.state[name].dtype
        assert torch.equal(read.state[name], saved.state[name])


def test_there_is_none(checkpoints):
    assert checkpoints.latest(0) is None
    checkpoints.save(0, checkpoint(1))
    assert checkpoints.latest(1) is None


def test_the_last_two_are_kept_of_each_trial(checkpoints):
    for epoch in (1, 2, 9, 10, 11):
        checkpoints.save(0, checkpoint(epoch))
    checkpoints.save(1, checkpoint(5))
    assert files_of(checkpoints, 0) == ["epoch-10.pt", "epoch-11.pt"]
    assert [checkpoints.latest(trial).epoch for trial in (0, 1)] == [11, 5]


@pytest.mark.parametrize(("upto", "epoch"), [(12, 11), (11, 11), (10, 10), (9, None)])
def test_the_newest_that_will_do(checkpoints, upto, epoch):
    for saved in (9, 10, 11):
        checkpoints.save(0, checkpoint(saved))
    found = checkpoints.latest(0, upto=upto)
    assert (found and found.epoch) == epoch


def test_saving_an_epoch_again_replaces_it(checkpoints):
    for weight in (1.0, 2.0):
        checkpoints.save(0, Checkpoint(1, {"weight": torch.tensor(weight)}))
    assert checkpoints.latest(0).state["weight"] == 2.0
    assert files_of(checkpoints, 0) == ["epoch-1.pt"]


def test_an_old_epoch_of_a_writer_that_woke_destroys_nothing(checkpoints):
    for epoch in (8, 9, 3):
        checkpoints.save(0, checkpoint(epoch))
    assert files_of(checkpoints, 0) == ["epoch-8.pt", "epoch-9.pt"]
    assert checkpoints.latest(0).state["step"] == 9


OTHERS = ["epoch-01.pt", "epoch-x.pt", "notes.tmp"]


def test_other_files_are_left_alone(checkpoints):
    checkpoints.save(0, checkpoint(1))
    for name in OTHERS:
        File(checkpoints, name).write(b"somebody's notes")
    for epoch in (2, 3, 4):
        checkpoints.save(0, checkpoint(epoch))
    checkpoints.rewind(0, 3)
    assert files_of(checkpoints, 0) == sorted([*OTHERS, "epoch-3.pt"])
    assert checkpoints.latest(0).epoch == 3


@pytest.mark.parametrize(
    ("epoch", "left"),
    [(9, ["epoch-8.pt", "epoch-9.pt"]), (8, ["epoch-8.pt"]), (0, [])],
)
def test_rewinding_removes_later_epochs_and_half_written_files(checkpoints, epoch, left):
    for saved in (8, 9):
        checkpoints.save(0, checkpoint(saved))
    checkpoints.save(1, checkpoint(9))
    for half in (2, 10):
        File(checkpoints, f"epoch-{half}.pt.{'0f' * 16}.tmp").write(b"half")
    assert checkpoints.latest(0).epoch == 9
    checkpoints.rewind(0, epoch)
    checkpoints.rewind(2, epoch)
    assert files_of(checkpoints, 0) == left
    assert files_of(checkpoints, 1) == ["epoch-9.pt"]


def test_discard_removes_every_trial_and_nothing_beside_them(checkpoints):
    checkpoints.discard()
    for place in (checkpoints.at("one"), checkpoints.at("two")):
        place.save(0, checkpoint(1))
    checkpoints.at("one").discard()
    assert checkpoints.at("one").latest(0) is None
    assert checkpoints.at("two").latest(0).epoch == 1
    checkpoints.discard()
    assert checkpoints.at("two").latest(0) is None


def test_discard_removes_the_folder(local):
    local.save(0, checkpoint(1))
    local.discard()
    assert not Path(local.root).exists()


def test_what_cannot_be_discarded_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.warns(UserWarning, match="file cannot be removed: Not a directory$"):
        Checkpoints(tmp_path / "file").discard()


NAMES = ["..", ".", "", "../../up", "a/b", "%2E%2E", "a::b", "s3://b", "*?[", "é\n\\"]


@pytest.mark.parametrize("name", NAMES)
def test_a_place_below_leads_nowhere_else(checkpoints, name):
    place = checkpoints.at(name)
    place.save(0, checkpoint(1))
    system, root = fsspec.url_to_fs(checkpoints.root)
    (child,) = system.ls(root, detail=False)
    assert system.exists(f"{child}/trial-0/epoch-1.pt")
    others = [checkpoints.at(other) for other in ("retraining-3", "%", f"{name}.")]
    assert all(other.latest(0) is None for other in others)
    assert pickle.loads(pickle.dumps(place)).latest(0).epoch == 1


class TestMark:
    def test_who_claims_first_is_known_everywhere(self, checkpoints):
        checkpoints.claim("ours")
        checkpoints.claim("theirs")
        Checkpoints(checkpoints.root).check("ours")
        with pytest.raises(CheckpointError, match="are not those of this study"):
            checkpoints.check("theirs")

    def test_a_place_that_a_worker_does_not_see(self, local):
        local.save(0, checkpoint(1))
        expected = (
            f"the checkpoints at {local.root} are not those of this study: "
            "give --checkpoints a place that all workers reach"
        )
        with pytest.raises(CheckpointError) as refused:
            local.check("ours")
        assert str(refused.value) == expected

    @pytest.mark.parametrize(("call", "done"), [("claim", "written"), ("check", "read")])
    def test_a_place_that_is_none(self, tmp_path, call, done):
        (tmp_path / "file").write_text("")
        with pytest.raises(CheckpointError, match=f"file/x cannot be {done}: Not a directory$"):
            getattr(Checkpoints(tmp_path / "file" / "x"), call)("ours")


class TestDamage:
    @pytest.fixture
    def saved(self, checkpoints):
        for epoch in (1, 2):
            checkpoints.save(0, checkpoint(epoch))
        return File(checkpoints, "epoch-2.pt")

    def refused(self, checkpoints, reason="is damaged"):
        expected = f"^checkpoint epoch-2.pt of trial-0 {reason}.*; trying the one before it$"
        with pytest.warns(UserWarning, match=expected):
            return checkpoints.latest(0)

    def test_every_truncation_is_seen_and_the_one_before_used(self, checkpoints, saved):
        whole = saved.read()
        for place in [0, 1, 19, 20, 21, 84, 85, 86, len(whole) // 2, len(whole) - 1]:
            saved.write(whole[:place])
            assert self.refused(checkpoints).epoch == 1

    def test_every_flipped_bit_is_seen_and_the_one_before_used(self, checkpoints, saved):
        whole, chance = saved.read(), random.Random(0)
        for place in [*range(0, 86, 5), *(chance.randrange(len(whole)) for _ in range(10))]:
            flipped = bytearray(whole)
            flipped[place] ^= 1 << chance.randrange(8)
            saved.write(flipped)
            assert self.refused(checkpoints).epoch == 1

    def test_something_appended_is_seen(self, checkpoints, saved):
        saved.write(saved.read() + b"\0")
        assert self.refused(checkpoints).epoch == 1

    def test_when_both_are_damaged_there_is_none(self, checkpoints, saved):
        for name in ("epoch-1.pt", "epoch-2.pt"):
            File(checkpoints, name).write(b"")
        with pytest.warns(UserWarning, match="is damaged") as warned:
            assert checkpoints.latest(0) is None
        assert len(warned) == 2

    def test_a_trial_that_starts_again_is_not_lost_to_the_old_files(self, checkpoints):
        for epoch in (8, 9):
            checkpoints.save(0, checkpoint(epoch))
            File(checkpoints, f"epoch-{epoch}.pt").write(b"damaged")
        checkpoints.rewind(0, 0)
        for epoch in (1, 2):
            checkpoints.save(0, checkpoint(epoch))
        assert files_of(checkpoints, 0) == ["epoch-1.pt", "epoch-2.pt"]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert checkpoints.latest(0).epoch == 2


def test_what_the_disk_cannot_read_is_like_damage(local):
    for epoch in (1, 2):
        local.save(0, checkpoint(epoch))
    path = Path(File(local, "epoch-2.pt").path)
    path.unlink()
    path.mkdir()
    with pytest.warns(UserWarning, match="epoch-2.pt of trial-0 cannot be read: Is a directory; trying"):
        assert local.latest(0).epoch == 1


class Bomb:
    def __reduce__(self):
        return os.mkdir, (os.environ["BOMB"],)


@pytest.mark.parametrize("bare", [True, False], ids=["a pickle", "a torch file"])
def test_nothing_in_a_file_is_executed(checkpoints, tmp_path, monkeypatch, bare):
    """Even if whoever made it knows the checksum."""
    monkeypatch.setenv("BOMB", str(tmp_path / "exploded"))
    checkpoints.save(0, checkpoint(1))
    contents = pickle.dumps(Bomb(), protocol=2)
    if not bare:
        torch.save({"epoch": 2, "state": Bomb()}, tmp_path / "bomb")
        contents = (tmp_path / "bomb").read_bytes()
    File(checkpoints, "epoch-2.pt").write(signed(contents))
    with pytest.warns(UserWarning, match="epoch-2.pt of trial-0 holds more than tensors and plain values"):
        assert checkpoints.latest(0).epoch == 1
    assert not (tmp_path / "exploded").exists()
    pickle.loads(pickle.dumps(Bomb()))
    assert (tmp_path / "exploded").exists()


@pytest.mark.parametrize("contents", [{"epoch": 2}, [1], torch.zeros(3)], ids=["no state", "list", "tensor"])
def test_a_torch_file_of_something_else(local, tmp_path, contents):
    local.save(0, checkpoint(1))
    torch.save(contents, tmp_path / "other")
    File(local, "epoch-2.pt").write(signed((tmp_path / "other").read_bytes()))
    with pytest.warns(UserWarning, match="epoch-2.pt of trial-0 is not one of hpo_gn's"):
        assert local.latest(0).epoch == 1


FAILURES = {
    "fsync": (PLACES["a folder"], os, "fsync"),
    "rename": (PLACES["a folder"], Path, "replace"),
    "write": (PLACES["memory"], MemoryFileSystem, "pipe_file"),
    "move": (PLACES["memory"], MemoryFileSystem, "mv"),
}


@pytest.mark.parametrize(("place", "owner", "call"), FAILURES.values(), ids=FAILURES)
def test_a_write_that_fails_leaves_the_old_one_and_nothing_else(tmp_path, monkeypatch, place, owner, call):
    checkpoints = Checkpoints(place.format(tmp_path))
    checkpoints.save(0, checkpoint(1))

    def full(*_arguments, **_options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(owner, call, full)
    reason = "epoch-2.pt of trial-0 cannot be written: No space left on device"
    with pytest.raises(CheckpointError, match=f"^checkpoint {reason}$"):
        checkpoints.save(0, checkpoint(2))
    monkeypatch.undo()
    assert files_of(checkpoints, 0) == ["epoch-1.pt"]
    assert checkpoints.latest(0).epoch == 1
    checkpoints.save(0, checkpoint(2))
    assert checkpoints.latest(0).epoch == 2
    checkpoints.discard()


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"epoch-2\.pt of trial-0 cannot be written: Not a directory"):
        Checkpoints(tmp_path / "file" / "x").save(0, checkpoint(2))


def test_a_search_begins_in_an_empty_place_or_where_one_was(checkpoints):
    checkpoints.begin("first")
    checkpoints.save(0, checkpoint(1))
    checkpoints.begin("second")
    checkpoints.check("second")
    assert checkpoints.latest(0) is None


def test_a_search_does_not_begin_among_somebodys_files(tmp_path):
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(CheckpointError, match=r"would be among somebody's files"):
        Checkpoints(tmp_path).begin("token")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
