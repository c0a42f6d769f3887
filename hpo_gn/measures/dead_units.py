"""Hidden units that say nothing of their input."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from hpo_gn.measures.activations import hidden_layers, inputs_seen
from hpo_gn.measures.batch import Batch, Split
from hpo_gn.measures.contract import PREFIX


@dataclass(frozen=True)
class DeadUnits:
    """Column `train_dead_units`, `val_dead_units` or `test_dead_units`: the share of hidden units whose
    activation is the same for every sample of the split, in [0, 1]; a ReLU that is never on is one.

    The units are those of `Spectrum`: what each `nn.Linear` but the first gets, or of an only one its input.

    Args:
        split: what is measured.
    """

    split: Split = "validation"
    _ranges: dict[str, tuple[Tensor, Tensor]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @contextmanager
    def attached(self, model: nn.Module) -> Iterator[None]:
        """Inside, the model's activations are looked at; the hooks come off whatever happens.

        Raises:
            ModelError: the model has no `nn.Linear`, or a layer's features are not in its last dimension.
        """
        self._ranges.clear()
        with inputs_seen(hidden_layers(model), self._see):
            yield

    def _see(self, name: str, rows: Tensor) -> None:
        low, high = rows.aminmax(dim=0)
        if name in self._ranges:
            least, most = self._ranges[name]
            low, high = torch.minimum(low, least), torch.maximum(high, most)
        self._ranges[name] = (low, high)

    def update(self, batch: Batch) -> None:
        """Take in one batch, which the hooks have done."""

    def compute(self) -> Mapping[str, float]:
        """The column, NaN without a batch; starts anew."""
        dead = [(low == high).double() for low, high in self._ranges.values()]
        self._ranges.clear()
        share = torch.cat(dead).mean().item() if dead else float("nan")
        return {f"{PREFIX[self.split]}_dead_units": share}
