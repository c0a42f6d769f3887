"""Residual networks for small images (He et al. 2016, section 4.2): 6n + 2 layers, option A shortcuts."""

from torch import Tensor, nn
from torch.nn.functional import pad, relu

from hpo_gn.models.initialization import check_image, he_initialize

WIDTHS = (16, 32, 64)


def resnet20(shape: tuple[int, ...], classes: int) -> "ResNet":
    """ResNet-20: n = 3, 0.27 million parameters. See `ResNet` for the arguments."""
    return ResNet(3, shape, classes)


def resnet56(shape: tuple[int, ...], classes: int) -> "ResNet":
    """ResNet-56: n = 9, 0.85 million parameters. See `ResNet` for the arguments."""
    return ResNet(9, shape, classes)


def resnet110(shape: tuple[int, ...], classes: int) -> "ResNet":
    """ResNet-110: n = 18, 1.7 million parameters. See `ResNet` for the arguments."""
    return ResNet(18, shape, classes)


class ResNet(nn.Module):
    """A 3 × 3 convolution, three stages of n blocks, average pooling, a linear layer.

    The stages have 16, 32 and 64 filters; the second and the third halve the sides.

    Args:
        blocks: n, blocks a stage.
        shape: (channels, height, width) of an image; inputs are [N, *shape].
        classes: number of outputs; logits are [N, classes].

    Raises:
        ArgumentError: `shape` is not an image's.
    """

    def __init__(self, blocks: int, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        check_image("resnet", shape, 1)
        self.stem = nn.Sequential(
            nn.Conv2d(shape[0], WIDTHS[0], 3, padding=1, bias=False), nn.BatchNorm2d(WIDTHS[0]), nn.ReLU()
        )
        stages = []
        channels = WIDTHS[0]
        for width in WIDTHS:
            stages += [Block(channels, width)] + [Block(width, width) for _ in range(blocks - 1)]
            channels = width
        self.blocks = nn.Sequential(*stages)
        self.head = nn.Linear(channels, classes)
        he_initialize(self)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits [N, classes] of images [N, C, H, W]."""
        features: Tensor = self.blocks(self.stem(inputs)).mean((2, 3))
        logits: Tensor = self.head(features)
        return logits


class Block(nn.Module):
    """Two 3 × 3 convolutions with batch norm, added to their input; more filters come with halved sides.

    The shortcut of a halving block is option A: every second pixel, and zeros for the filters that are new.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.new = width - channels
        self.stride = 2 if self.new else 1
        self.residual = nn.Sequential(
            nn.Conv2d(channels, width, 3, stride=self.stride, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Features [N, width, ⌈H/stride⌉, ⌈W/stride⌉] of features [N, channels, H, W]."""
        shortcut = inputs
        if self.new:
            before = self.new // 2
            strided = inputs[:, :, :: self.stride, :: self.stride]
            shortcut = pad(strided, (0, 0, 0, 0, before, self.new - before))
        return relu(self.residual(inputs) + shortcut)
