"""Initial weights and the shape check that the networks share."""

from torch import nn

from hpo_gn.errors import ArgumentError


def he_initialize(model: nn.Module) -> None:
    """Draw every convolution's and linear layer's weights from N(0, 2 / fan-in), He et al. 2015.

    Biases are 0. The random numbers are torch's global ones.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def check_image(name: str, shape: tuple[int, ...], smallest: int) -> None:
    """Check that `shape` is an image's, (channels, height, width).

    Raises:
        ArgumentError: it is not, or a side is shorter than `smallest` pixels.
    """
    if len(shape) != 3 or min(shape[1:]) < smallest:
        rule = f"(channels, height, width) with sides of at least {smallest} for {name}"
        raise ArgumentError("shape", rule, tuple(shape))
