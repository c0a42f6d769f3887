"""The short form of what saving survives, and that each of the scenarios can fail."""

import pytest

from hpo_gn import checkpoint_format
from hpo_gn.local_files import LocalFiles
from tests.chaos.full_disk import FullDisk, fill_disk
from tests.chaos.saving import Damages, damage, kill_writers

FULL = ["a full tmpfs", "RLIMIT_FSIZE"]


def write_in_place(files, name, data):
    path = files.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def without_verifying(data):
    return memoryview(data)[checkpoint_format._HEAD :]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "kills"),
    [("{}/checkpoints", 40), ("dir://checkpoints::file://{}", 15)],
    ids=["a folder", "a folder through fsspec"],
)
def test_killed_writers_leave_whole_files_alone(tmp_path, place, kills):
    found = kill_writers(place.format(tmp_path), kills=kills)
    assert (found.unreadable, found.lost, found.leftovers) == (0, 0, 0)
    assert found.mid_write, "no writer was killed in mid-write"


@pytest.mark.slow
def test_kills_show_what_writing_in_place_does(tmp_path, monkeypatch):
    monkeypatch.setattr(LocalFiles, "write", write_in_place)
    assert any(
        kill_writers(str(tmp_path / str(attempt)), kills=5, numbers=5_000_000).unreadable
        for attempt in range(20)
    )


def test_every_damage_is_detected_and_said_and_the_previous_one_used(tmp_path):
    assert damage(str(tmp_path), damages=60) == Damages(damaged=60, detected=60, previous_used=60, said=60)


def test_damages_show_what_not_verifying_does(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint_format, "_verified", without_verifying)
    found = damage(str(tmp_path), damages=60)
    assert found.detected < found.damaged
    assert found.said < found.damaged


@pytest.mark.parametrize("mount", [True, False], ids=["a small file system, if allowed", "a largest size"])
def test_a_full_disk_leaves_the_old_checkpoint_as_it_was(mount):
    found = fill_disk(points=20, mount=mount)
    assert found.refusal in (FULL if mount else FULL[1:])
    assert found == FullDisk(found.refusal, points=20, refused=20, intact=20, recovered=20)


def test_a_full_disk_shows_what_writing_in_place_does(monkeypatch):
    monkeypatch.setattr(LocalFiles, "write", write_in_place)
    found = fill_disk(points=3)
    assert found.refused == 3
    assert found.intact == 0
