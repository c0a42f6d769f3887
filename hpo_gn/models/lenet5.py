"""LeNet-5 (LeCun et al. 1998, figure 2) in today's form: ReLU, max pooling, a linear classifier."""

from torch import nn

from hpo_gn.models.initialization import check_image, he_initialize

SMALLEST_SIDE = 4


def lenet5(shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """Convolutions of 6 and 16 filters, 5 × 5, each pooled 2 × 2, then linear layers of 120 and 84 units.

    The paper pads 28 × 28 images to 32 × 32, so the first convolution pads by 2 whenever a side is below 32.
    The second pads by 2 only where it would otherwise leave nothing to pool, for images with a side below 12.

    Args:
        shape: (channels, height, width) of an image, sides of at least 4; inputs are [N, *shape].
        classes: number of outputs; logits are [N, classes].

    Raises:
        ArgumentError: `shape` is not an image's or too small.
    """
    check_image("lenet5", shape, SMALLEST_SIDE)
    channels, *sides = shape
    first = 2 if min(sides) < 32 else 0
    pooled = [(side + 2 * first - 4) // 2 for side in sides]
    second = 2 if min(pooled) < 6 else 0
    height, width = ((side + 2 * second - 4) // 2 for side in pooled)
    model = nn.Sequential(
        nn.Conv2d(channels, 6, 5, padding=first),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5, padding=second),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * height * width, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, classes),
    )
    he_initialize(model)
    return model
