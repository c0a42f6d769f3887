import hashlib

import pytest
import torch

from hpo_gn.data.fingerprint import CHUNK, fingerprint

IMAGES = torch.arange(CHUNK * 2 + 5, dtype=torch.int64)[:, None].repeat(1, 3)


def test_it_is_the_hash_of_the_whole_bytes():
    slow = hashlib.sha256(b"torch.int64 (8197, 3)\n" + IMAGES.numpy().tobytes()).hexdigest()
    assert fingerprint(IMAGES) == slow


def test_strides_do_not_count():
    assert fingerprint(IMAGES.t().contiguous().t()) == fingerprint(IMAGES)


@pytest.mark.parametrize(
    "other",
    [
        (IMAGES.to(torch.int32),),
        (IMAGES.reshape(-1, 1),),
        (IMAGES[:-1],),
        (IMAGES.flip(0),),
        (IMAGES, IMAGES),
        (IMAGES[:4], IMAGES[4:]),
        (torch.where(IMAGES == 8000, 0, IMAGES),),
    ],
)
def test_anything_else_has_another(other):
    assert fingerprint(*other) != fingerprint(IMAGES)
