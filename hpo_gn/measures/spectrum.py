"""The spectrum of hidden activations: how steeply their singular values fall."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from torch import Tensor, nn

from hpo_gn.errors import ArgumentError, ModelError, NonFiniteError
from hpo_gn.measures.activations import hidden_layers, inputs_seen, named_layers, outputs_seen
from hpo_gn.measures.batch import Batch, Split
from hpo_gn.measures.gram import Gram


@dataclass(frozen=True)
class Spectrum:
    """Columns `spectrum:<layer>`, S_tl = Σ_j σ_j / σ_max of the activations A_l [m, d_l] of hidden layer l
    over the split, not centred, and `spectrum_width:<layer>`, d_l ("Predicting the success of Gradient
    Descent…", section III).

    S is 1 if all activations are multiples of one vector, at most min(m, d_l), and 0 if all are zero. The
    scores of `hpo_gn.measures.early_success` are made of it. Activations [B, …, d_l] are B·… rows; a layer
    that runs several times has the rows of each. They are not kept: hooks sum AᵀA, see `Gram`.

    Chosen: the hidden layers are all `nn.Linear` but the last, and A_l is what the next one gets, in the
    order of `model.named_modules()`. Of an only `nn.Linear`, A_l is the input.

    Args:
        layers: names of modules whose outputs are measured instead. Features must be in their last dimension:
            [B, d] or [B, T, d], or the output of an `nn.Linear`, and not that of a convolution.
        split: what is measured.

    Raises:
        ArgumentError: `layers` is not a tuple of names.
    """

    layers: tuple[str, ...] | None = None
    split: Split = "validation"
    _grams: dict[str, Gram | None] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.layers is None:
            return
        if not isinstance(self.layers, tuple) or not self.layers:
            raise ArgumentError("layers", "a tuple of layers' names, or None", self.layers)

    @contextmanager
    def attached(self, model: nn.Module) -> Iterator[None]:
        """Inside, the model's activations are gathered; the hooks come off whatever happens.

        Raises:
            UnknownNameError: the model has no module of a name.
            ModelError: the model has no `nn.Linear`, or a layer's features are not in its last dimension.
        """
        layers = hidden_layers(model) if self.layers is None else named_layers(model, self.layers)
        seen = inputs_seen if self.layers is None else outputs_seen
        self._grams.clear()
        self._grams.update(dict.fromkeys(layers))
        with seen(layers, self._see):
            yield

    def _see(self, name: str, rows: Tensor) -> None:
        gram = self._grams[name]
        if gram is None:
            gram = self._grams[name] = Gram(rows.shape[1])
        elif gram.columns != rows.shape[1]:
            widths = f"{rows.shape[1]} after {gram.columns}"
            raise ModelError(f"layer {name!r} must give as many features in each batch, got {widths}")
        gram.add(rows)

    def update(self, batch: Batch) -> None:
        """Take in one batch, which the hooks have done."""
        del batch
        if not self._grams:
            raise ValueError("Spectrum needs a pass that it is attached to")

    def compute(self) -> Mapping[str, float]:
        """The columns; starts anew.

        Raises:
            ModelError: a layer has no activations.
            NonFiniteError: a layer's activations are not all finite.
        """
        grams = dict(self._grams)
        self._grams.clear()
        columns: dict[str, float] = {}
        for name, gram in grams.items():
            if gram is None:
                reason = "it, or the nn.Linear after it, did not run"
                raise ModelError(f"layer {name!r} has no activations in the pass: {reason}")
            columns[f"spectrum:{name}"] = gram.nuclear_over_spectral_norm()
            columns[f"spectrum_width:{name}"] = gram.columns
            if math.isnan(columns[f"spectrum:{name}"]):
                raise NonFiniteError(f"the output of layer {name!r} is not finite: the training diverged")
        return columns
