"""The multilayer perceptron."""

import math

from torch import nn

from hpo_gn.models.initialization import he_initialize


def mlp(shape: tuple[int, ...], classes: int) -> nn.Sequential:
    """Two hidden layers of 512 and 256 units with ReLU, for inputs of any shape.

    Args:
        shape: one input's shape; inputs are [N, *shape].
        classes: number of outputs; logits are [N, classes].
    """
    model = nn.Sequential(
        nn.Flatten(),
        nn.Linear(math.prod(shape), 512),
        nn.ReLU(),
        nn.Linear(512, 256),
        nn.ReLU(),
        nn.Linear(256, classes),
    )
    he_initialize(model)
    return model
