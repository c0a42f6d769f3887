"""Densely connected networks for small images (Huang et al. 2017, section 3), the plain form, not -BC."""

import torch
from torch import Tensor, nn

from hpo_gn.models.initialization import check_image, he_initialize

SMALLEST_SIDE = 4
STEM = 16


def densenet100(shape: tuple[int, ...], classes: int) -> "DenseNet":
    """DenseNet, L = 100 layers, growth rate k = 24: 27.2 million parameters (Huang et al. 2017, table 2).

    The paper's dropout of 0.2 belongs to its runs without data augmentation and is left out. See `DenseNet`
    for the arguments.
    """
    return DenseNet(32, 24, shape, classes)


class DenseNet(nn.Module):
    """A 3 × 3 convolution of 16 filters, three dense blocks, average pooling, a linear layer.

    Between blocks a 1 × 1 convolution keeps the number of filters and an average pooling halves the sides.

    Args:
        layers: layers a block, (L − 4) / 3.
        growth: k, filters that each layer adds.
        shape: (channels, height, width) of an image, sides of at least 4; inputs are [N, *shape].
        classes: number of outputs; logits are [N, classes].

    Raises:
        ArgumentError: `shape` is not an image's or too small.
    """

    def __init__(self, layers: int, growth: int, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        check_image("densenet", shape, SMALLEST_SIDE)
        modules: list[nn.Module] = [nn.Conv2d(shape[0], STEM, 3, padding=1, bias=False)]
        channels = STEM
        for block in range(3):
            if block:
                modules += [_norm_relu_conv(channels, channels, 1), nn.AvgPool2d(2)]
            for _ in range(layers):
                modules.append(DenseLayer(channels, growth))
                channels += growth
        self.features = nn.Sequential(*modules, nn.BatchNorm2d(channels), nn.ReLU())
        self.head = nn.Linear(channels, classes)
        he_initialize(self)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits [N, classes] of images [N, C, H, W]."""
        logits: Tensor = self.head(self.features(inputs).mean((2, 3)))
        return logits


class DenseLayer(nn.Module):
    """Batch norm, ReLU and a 3 × 3 convolution, whose output is put beside the input."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        self.layer = _norm_relu_conv(channels, growth, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        """Features [N, channels + growth, H, W] of features [N, channels, H, W]."""
        return torch.cat([inputs, self.layer(inputs)], dim=1)


def _norm_relu_conv(channels: int, width: int, side: int) -> nn.Sequential:
    return nn.Sequential(
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.Conv2d(channels, width, side, padding=side // 2, bias=False),
    )
