import contextlib
import errno
import hashlib
import multiprocessing
import os
import pickle
import random
import time
import warnings
from pathlib import Path

import pytest
import torch

from hpo_gn.checkpoint import Checkpoint, Checkpoints
from hpo_gn.errors import CheckpointError


@pytest.fixture
def checkpoints(tmp_path):
    return Checkpoints(tmp_path / "checkpoints")


def checkpoint(epoch):
    state = {"weight": torch.full((40, 3), float(epoch)), "step": epoch, "nested": {"betas": (0.9, 0.5)}}
    return Checkpoint(epoch, state)


def path_of(checkpoints, trial, epoch):
    return checkpoints.root / f"trial-{trial}" / f"epoch-{epoch}.pt"


def files_of(checkpoints, trial):
    return sorted(path.name for path in (checkpoints.root / f"trial-{trial}").iterdir())


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


def test_other_files_are_left_alone(checkpoints):
    checkpoints.save(0, checkpoint(1))
    path_of(checkpoints, 0, "x").write_text("somebody's notes")
    for epoch in (2, 3, 4):
        checkpoints.save(0, checkpoint(epoch))
    assert files_of(checkpoints, 0) == ["epoch-3.pt", "epoch-4.pt", "epoch-x.pt"]


def test_discard_removes_every_trial(checkpoints):
    checkpoints.discard()
    checkpoints.save(0, checkpoint(1))
    checkpoints.discard()
    assert not checkpoints.root.exists()


class TestDamage:
    @pytest.fixture
    def saved(self, checkpoints):
        for epoch in (1, 2):
            checkpoints.save(0, checkpoint(epoch))
        return path_of(checkpoints, 0, 2)

    def refused(self, checkpoints, reason="is damaged"):
        expected = f"^checkpoint epoch-2.pt of trial-0 {reason}.*; trying the one before it$"
        with pytest.warns(UserWarning, match=expected):
            return checkpoints.latest(0)

    def test_every_truncation_is_seen_and_the_one_before_used(self, checkpoints, saved):
        whole = saved.read_bytes()
        places = {0, 1, 19, 20, 21, 84, 85, 86, len(whole) - 1} | set(range(0, len(whole), len(whole) // 50))
        assert len(places) >= 50
        for place in places:
            saved.write_bytes(whole[:place])
            assert self.refused(checkpoints).epoch == 1

    def test_every_flipped_bit_is_seen_and_the_one_before_used(self, checkpoints, saved):
        whole, chance = saved.read_bytes(), random.Random(0)
        for place in [*range(0, 86, 5), *(chance.randrange(len(whole)) for _ in range(60))]:
            flipped = bytearray(whole)
            flipped[place] ^= 1 << chance.randrange(8)
            saved.write_bytes(flipped)
            assert self.refused(checkpoints).epoch == 1

    def test_something_appended_is_seen(self, checkpoints, saved):
        saved.write_bytes(saved.read_bytes() + b"\0")
        assert self.refused(checkpoints).epoch == 1

    def test_what_cannot_be_read_is_like_damage(self, checkpoints, saved):
        saved.unlink()
        saved.mkdir()
        assert self.refused(checkpoints, "cannot be read: Is a directory").epoch == 1

    def test_when_both_are_damaged_there_is_none(self, checkpoints, saved):
        for path in (saved, path_of(checkpoints, 0, 1)):
            path.write_bytes(b"")
        with pytest.warns(UserWarning, match="is damaged") as warned:
            assert checkpoints.latest(0) is None
        assert len(warned) == 2

    def test_a_trial_that_starts_again_is_not_lost_to_the_old_files(self, checkpoints):
        for epoch in (8, 9):
            checkpoints.save(0, checkpoint(epoch))
            path_of(checkpoints, 0, epoch).write_bytes(b"damaged")
            os.utime(path_of(checkpoints, 0, epoch), (1, 1))
        for epoch in (1, 2):
            checkpoints.save(0, checkpoint(epoch))
        assert files_of(checkpoints, 0) == ["epoch-1.pt", "epoch-2.pt"]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert checkpoints.latest(0).epoch == 2


class Bomb:
    def __reduce__(self):
        return os.mkdir, (os.environ["BOMB"],)


@pytest.mark.parametrize("bare", [True, False], ids=["a pickle", "a torch file"])
def test_nothing_in_a_file_is_executed(checkpoints, tmp_path, monkeypatch, bare):
    """Even if whoever made it knows the checksum."""
    monkeypatch.setenv("BOMB", str(tmp_path / "exploded"))
    checkpoints.save(0, checkpoint(1))
    path = path_of(checkpoints, 0, 2)
    if bare:
        contents = pickle.dumps(Bomb(), protocol=2)
    else:
        torch.save({"epoch": 2, "state": Bomb()}, path)
        contents = path.read_bytes()
    digest = hashlib.sha256(contents).hexdigest().encode()
    path.write_bytes(b"hpo_gn checkpoint 1\n" + digest + b"\n" + contents)
    with pytest.warns(UserWarning, match="epoch-2.pt of trial-0 holds more than tensors and plain values"):
        assert checkpoints.latest(0).epoch == 1
    assert not (tmp_path / "exploded").exists()
    pickle.loads(pickle.dumps(Bomb()))
    assert (tmp_path / "exploded").exists()


@pytest.mark.parametrize("contents", [{"epoch": 2}, [1], torch.zeros(3)], ids=["no state", "list", "tensor"])
def test_a_torch_file_of_something_else(checkpoints, contents):
    checkpoints.save(0, checkpoint(1))
    path = path_of(checkpoints, 0, 2)
    torch.save(contents, path)
    data = path.read_bytes()
    path.write_bytes(b"hpo_gn checkpoint 1\n" + hashlib.sha256(data).hexdigest().encode() + b"\n" + data)
    with pytest.warns(UserWarning, match="epoch-2.pt of trial-0 is not one of hpo_gn's"):
        assert checkpoints.latest(0).epoch == 1


@pytest.mark.parametrize("call", ["fsync", "replace", "write", "mkdir"])
def test_a_full_disk_leaves_the_old_one_and_nothing_else(checkpoints, monkeypatch, call):
    if call != "mkdir":
        checkpoints.save(0, checkpoint(1))

    def full(*_arguments, **_options):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    owner = {"fsync": os, "replace": Path, "mkdir": Path}
    if call == "write":
        monkeypatch.setattr(Path, "open", lambda path, mode: FullFile(path))
    else:
        monkeypatch.setattr(owner[call], call, full)
    reason = "epoch-2.pt of trial-0 cannot be written: No space left on device"
    with pytest.raises(CheckpointError, match=f"^checkpoint {reason}$"):
        checkpoints.save(0, checkpoint(2))
    monkeypatch.undo()
    if call != "mkdir":
        assert files_of(checkpoints, 0) == ["epoch-1.pt"]
        assert checkpoints.latest(0).epoch == 1
    checkpoints.save(0, checkpoint(2))
    assert checkpoints.latest(0).epoch == 2


class FullFile:
    """A file that takes half of what is written, as on a full disk."""

    def __init__(self, path):
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self._descriptor)

    def write(self, data):
        os.write(self._descriptor, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def save_for_ever(root, pipe):
    checkpoints = Checkpoints(root)
    last = checkpoints.latest(0)
    epoch = last.epoch if last else 0
    state = {"weight": torch.zeros(500_000)}
    while True:
        epoch += 1
        state["weight"].fill_(epoch)
        checkpoints.save(0, Checkpoint(epoch, state))
        pipe.send(epoch)


def sent_before_the_end(pipe):
    epochs = []
    with contextlib.suppress(EOFError):
        while True:
            epochs.append(pipe.recv())
    return epochs


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_killed_writers_leave_whole_files_alone(checkpoints):
    """Real processes, killed in mid-save: what was acknowledged is there, and no half file under its name."""
    chance, acknowledged, leftovers = random.Random(0), 0, 0
    context = multiprocessing.get_context("fork")  # fresh ones would take seconds each to import torch
    for _ in range(40):
        ours, theirs = context.Pipe(duplex=False)
        writer = context.Process(target=save_for_ever, args=(checkpoints.root, theirs))
        writer.start()
        theirs.close()
        assert ours.poll(30), "the writer failed"
        time.sleep(chance.uniform(0, 0.05))
        writer.kill()
        writer.join()
        acknowledged, before = sent_before_the_end(ours)[-1], acknowledged
        ours.close()
        assert acknowledged > before
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = checkpoints.latest(0)
        assert found.epoch in (acknowledged, acknowledged + 1)
        assert torch.equal(found.state["weight"], torch.full((500_000,), float(found.epoch)))
        leftovers += any(name.endswith(".tmp") for name in files_of(checkpoints, 0))
    assert leftovers, "no writer was killed in mid-save"
    checkpoints.save(0, checkpoint(10**6))
    assert len(files_of(checkpoints, 0)) == 2, "what killed writers left is cleaned up"


def test_a_dead_writers_temporary_file_is_removed(checkpoints):
    checkpoints.save(0, checkpoint(1))
    path_of(checkpoints, 0, 2).with_suffix(".pt.0123.tmp").write_bytes(b"half")
    assert checkpoints.latest(0).epoch == 1
    checkpoints.save(0, checkpoint(2))
    assert files_of(checkpoints, 0) == ["epoch-1.pt", "epoch-2.pt"]
