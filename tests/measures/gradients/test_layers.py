"""Layers whose per-sample gradients have a form of their own."""

import pytest
import torch
from torch import nn

from hpo_gn.measures.gradients.layers import has_form


def with_statistics(layer):
    """A batch norm that is not at its initial values."""
    torch.manual_seed(1)
    nn.init.normal_(layer.running_mean, std=0.3)
    nn.init.uniform_(layer.running_var, 0.5, 2)
    if layer.affine:
        nn.init.uniform_(layer.weight, 0.5, 1.5)
    return layer


LAYERS = {
    "linear": lambda: (nn.Linear(5, 4), (5,)),
    "linear without bias": lambda: (nn.Linear(5, 4, bias=False), (5,)),
    "linear over few positions": lambda: (nn.Linear(9, 8), (2, 9)),
    "linear over many positions": lambda: (nn.Linear(4, 3), (7, 4)),
    "linear over a grid of positions": lambda: (nn.Linear(4, 3, bias=False), (2, 3, 4)),
    "layer norm": lambda: (nn.LayerNorm(5), (5,)),
    "layer norm over positions": lambda: (nn.LayerNorm(5), (3, 5)),
    "layer norm of two sides": lambda: (nn.LayerNorm((3, 5)), (2, 3, 5)),
    "layer norm without bias": lambda: (nn.LayerNorm(5, bias=False), (3, 5)),
    "RMS norm": lambda: (nn.RMSNorm(5), (3, 5)),
    "RMS norm with its own epsilon": lambda: (nn.RMSNorm((3, 5), eps=0.1), (2, 3, 5)),
    "group norm": lambda: (nn.GroupNorm(2, 4), (4, 3, 5)),
    "group norm of vectors": lambda: (nn.GroupNorm(2, 6), (6,)),
    "batch norm of vectors": lambda: (with_statistics(nn.BatchNorm1d(5)), (5,)),
    "batch norm of sequences": lambda: (with_statistics(nn.BatchNorm1d(4)), (4, 5)),
    "batch norm of images": lambda: (with_statistics(nn.BatchNorm2d(3)), (3, 4, 5)),
    "batch norm of volumes": lambda: (with_statistics(nn.BatchNorm3d(2)), (2, 2, 3, 4)),
    "batch norm without parameters": lambda: (with_statistics(nn.BatchNorm2d(3, affine=False)), (3, 4, 5)),
}


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS)
def test_it_equals_autograd_sample_by_sample(make, classifier, read, agrees, gradients_twin):
    layer, shape = make()
    assert has_form(layer)
    model, *samples = classifier(layer, shape)
    agrees(read(model, *samples), gradients_twin(model, *samples))


LOOKUPS = {
    "sequences": (lambda: nn.Embedding(7, 4), (9,)),  # longer than 7, so that some index repeats
    "sequences with padding": (lambda: nn.Embedding(7, 4, padding_idx=2), (9,)),
    "sequences with padding counted from the end": (lambda: nn.Embedding(7, 4, padding_idx=-1), (9,)),
    "grids": (lambda: nn.Embedding(7, 4), (3, 4)),
    "one index a sample": (lambda: nn.Embedding(7, 4), ()),
}


@pytest.mark.parametrize(("make", "shape"), LOOKUPS.values(), ids=LOOKUPS)
def test_embeddings_add_up_what_each_sample_looks_up(make, shape, classifier, read, agrees, gradients_twin):
    model, *samples = classifier(make(), shape, indices=7)
    agrees(read(model, *samples), gradients_twin(model, *samples))


class Scaled(nn.Linear):
    def forward(self, inputs):
        return 2 * super().forward(inputs)


@pytest.mark.parametrize(
    "layer",
    [
        Scaled(4, 3),
        nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)),
        nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 3, 1)),
        nn.Embedding(4, 3, max_norm=1.0),
        nn.Embedding(4, 3, scale_grad_by_freq=True),
        nn.Embedding(4, 3, sparse=True),
        nn.Conv3d(4, 3, 1),
        nn.ConvTranspose2d(4, 3, 1),
        nn.MultiheadAttention(4, 2),
        nn.LSTM(4, 3),
        nn.InstanceNorm2d(4, affine=True),
    ],
    ids=repr,
)
def test_what_may_compute_something_else_has_no_form(layer):
    assert not has_form(layer)
