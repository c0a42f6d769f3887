"""The contract of a measure."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from hpo_gn.measures.batch import Batch, Split


@runtime_checkable
class Measure(Protocol):
    """Numbers read off a model in one pass over a split.

    Two measures that compare equal are computed once. Both methods run in evaluation mode, without gradients,
    and with random states of their own. What a measure needs of the pass beyond its batches it says by having
    one of these:

    `linear_layer`: a layer's name, or None for the model's last `nn.Linear`. `Batch.features` is then that
    layer's input and `Batch.squared_delta_norms` its ‖δ‖².

    `samples` and `seed`: a number of samples, or None for all. It then sees that many, drawn from the split
    without replacement, the same ones each time that the split's order is the same.

    `attached(model)`: a context manager, entered for the time of the pass, e.g. to have forward hooks on the
    model.

    `own_passes`: True for one that calls `Batch.model` or has hooks on it in `update` or `compute`.

    `during_training(model)`: a context manager around an epoch of training, in which it reads what it wants.
    It takes part in no pass: `measure` only asks it to `compute`.

    `visit(gradient)`: called in each batch, before `update`, once for each parameter that requires gradients,
    with its per-sample gradients, a `hpo_gn.measures.gradients.Gradient`. All measures that have it share one
    backward pass.
    """

    @property
    def split(self) -> Split:
        """The split it is computed on."""

    def update(self, batch: Batch) -> None:
        """Take in one batch."""

    def compute(self) -> Mapping[str, float]:
        """The columns of the epoch's row, over all batches since the last call; starts anew."""


PREFIX: dict[Split, str] = {"train": "train", "validation": "val", "test": "test"}
"""How a split's columns begin."""
