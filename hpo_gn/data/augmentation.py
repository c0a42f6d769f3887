"""Random crops and flips of a whole batch at once, on its device."""

import torch
from torch import Tensor
from torch.nn.functional import pad

PADDING = 4


def crop_and_flip(inputs: Tensor, generator: torch.Generator) -> Tensor:
    """Pad by 4 zeros, crop at random to the old size, flip half of the images (He et al. 2016, section 4.2).

    Args:
        inputs: [N, C, H, W], of any dtype.
        generator: source of the random numbers, on the inputs' device; each image gets its own.

    Returns:
        Augmented images, [N, C, H, W], of the same dtype.
    """
    count, _, height, width = inputs.shape
    device = inputs.device
    top, left = torch.randint(2 * PADDING + 1, (2, count), generator=generator, device=device)
    flipped = torch.randint(2, (count,), generator=generator, device=device).bool()
    windows = pad(inputs, (PADDING,) * 4).unfold(2, height, 1).unfold(3, width, 1)
    crops = windows[torch.arange(count, device=device), :, top, left]
    return torch.where(flipped[:, None, None, None], crops.flip(3), crops)
