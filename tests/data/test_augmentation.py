import torch
from torch import Tensor
from torch.nn.functional import pad

from hpo_gn.data.augmentation import crop_and_flip


def batch(count: int) -> Tensor:
    """Images without symmetry, so that every crop and flip of one is another."""
    return torch.randint(1, 256, (count, 3, 8, 10), generator=torch.Generator().manual_seed(0)).to(
        torch.uint8
    )


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def slow_candidates(image: Tensor) -> dict[tuple[int, int, bool], Tensor]:
    """Every augmentation of one image, by its offsets and whether it is flipped."""
    padded = pad(image, (4, 4, 4, 4))
    crops = {(top, left): padded[:, top : top + 8, left : left + 10] for top in range(9) for left in range(9)}
    return {
        (*offsets, flip): crop.flip(2) if flip else crop
        for offsets, crop in crops.items()
        for flip in (False, True)
    }


def test_each_image_is_one_of_its_crops_and_flips_and_each_is_as_likely():
    images = batch(2000)
    augmented = crop_and_flip(images, generator())
    seen = []
    for image, result in zip(images, augmented, strict=True):
        (match,) = [key for key, value in slow_candidates(image).items() if torch.equal(value, result)]
        seen.append(match)
    counts = torch.tensor([[top, left, flip] for top, left, flip in seen])
    assert counts[:, 0].bincount(minlength=9).min() > 2000 / 9 * 0.7
    assert counts[:, 1].bincount(minlength=9).min() > 2000 / 9 * 0.7
    assert 900 < counts[:, 2].sum() < 1100
    assert len(set(seen)) == 162


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
