import torch
from torch import Tensor
from torch.nn.functional import pad

from hpo_gn.data.augmentation import crop_and_flip


def batch(count: int) -> Tensor:
    """Images without symmetry, so that every crop and flip of one is another."""
    values = torch.randint(1, 256, (count, 3, 8, 10), generator=torch.Generator().manual_seed(0))
    return values.to(torch.uint8)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def slow_candidates(image: Tensor) -> Tensor:
    """All 9 × 9 × 2 augmentations of one image, by rows skipped, columns skipped and flip."""
    padded = pad(image, (4, 4, 4, 4))
    crops = [padded[:, top : top + 8, left : left + 10] for top in range(9) for left in range(9)]
    return torch.stack([candidate for crop in crops for candidate in (crop, crop.flip(2))])


def test_each_image_is_one_of_its_crops_and_flips_and_each_is_as_likely():
    images = batch(1000)
    seen = []
    for image, result in zip(images, crop_and_flip(images, generator()), strict=True):
        (match,) = (slow_candidates(image) == result).flatten(1).all(1).nonzero()
        seen.append(match.item())
    counts = torch.tensor(seen).bincount(minlength=162).view(9, 9, 2)
    assert (counts > 0).sum() > 155
    assert counts.sum((1, 2)).min() > 1000 / 9 * 0.7
    assert counts.sum((0, 2)).min() > 1000 / 9 * 0.7
    assert 450 < counts[..., 1].sum() < 550


def test_the_generator_alone_decides():
    images = batch(50)
    torch.manual_seed(1)
    first = crop_and_flip(images, generator())
    torch.manual_seed(2)
    assert torch.equal(first, crop_and_flip(images, generator()))
    assert not torch.equal(first, crop_and_flip(images, generator(1)))


def test_dtype_and_input_are_kept():
    images = batch(5)
    before = images.clone()
    assert crop_and_flip(images, generator()).dtype == torch.uint8
    assert torch.equal(images, before)
    assert torch.equal(crop_and_flip(images.float(), generator()), crop_and_flip(images, generator()).float())
