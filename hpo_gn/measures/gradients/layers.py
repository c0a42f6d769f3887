"""Which form a layer's per-sample gradients have."""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from hpo_gn.measures.gradients.batch_norm import BatchNorm
from hpo_gn.measures.gradients.convolution import Convolved
from hpo_gn.measures.gradients.gradient import Direct, Gradient, Place, working
from hpo_gn.measures.gradients.lookup import Lookup
from hpo_gn.measures.gradients.outer import Outer, Product

_FORMS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Embedding, nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, *BatchNorm)


def has_form(module: nn.Module) -> bool:
    """Whether the layer's gradients have a form of their own; all others are left to `torch.func`.

    Exact types only: a subclass may do anything. So may a layer whose weight is computed from other
    parameters, as by weight normalization.
    """
    if type(module) not in _FORMS or not set(module._parameters) <= {"weight", "bias"}:
        return False
    if isinstance(module, nn.Embedding):
        return not (module.max_norm or module.scale_grad_by_freq or module.sparse)
    return True


@dataclass(frozen=True)
class Call:
    """What a layer did in one forward pass, and the gradient that came back.

    Args:
        layer: the layer, one that `has_form` knows.
        inputs: its input, [B, …].
        deltas: ∂(Σ_i L_i)/∂output, [B, …].
    """

    layer: nn.Module
    inputs: Tensor
    deltas: Tensor

    def gradient(self, kind: str, place: Place) -> Gradient:
        """The layer's per-sample gradients of its "weight" or "bias"."""
        if isinstance(self.layer, nn.Linear):
            return self._linear(kind, place)
        if isinstance(self.layer, nn.Conv1d | nn.Conv2d):
            if kind == "weight":
                return Convolved(place, self.layer, self.deltas, self.inputs)
            return Direct(place, working(self.deltas).flatten(2).sum(dim=2))
        if isinstance(self.layer, nn.Embedding):
            return Lookup(place, self.layer, self.deltas, self.inputs)
        return Direct(place, self._scale() if kind == "weight" else self._sum(working(self.deltas)))

    def _linear(self, kind: str, place: Place) -> Gradient:
        if self.deltas.dim() == 2:
            return Outer(place, self.deltas, self.inputs) if kind == "weight" else Direct(place, self.deltas)
        deltas = self.deltas.flatten(1, -2)
        if kind == "bias":
            return Direct(place, working(deltas).sum(dim=1))
        return Product(place, deltas, self.inputs.flatten(1, -2))

    def _scale(self) -> Tensor:
        """The gradient of a normalization's scale: the sum of δ x̂."""
        inputs, deltas, layer = working(self.inputs), working(self.deltas), self.layer
        if isinstance(layer, BatchNorm):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            shape = (1, -1, *(1,) * (inputs.dim() - 2))
            products = (inputs - layer.running_mean.view(shape)).mul_(deltas)
            return self._sum(products) * (layer.running_var + layer.eps).rsqrt()
        return self._sum(deltas * self._normalized(inputs))

    def _normalized(self, inputs: Tensor) -> Tensor:
        """x̂, a normalization's output before scale and shift."""
        layer = self.layer
        if isinstance(layer, nn.LayerNorm):
            return functional.layer_norm(inputs, layer.normalized_shape, eps=layer.eps)
        if isinstance(layer, nn.RMSNorm):
            return functional.rms_norm(inputs, [*layer.normalized_shape], eps=layer.eps)
        assert isinstance(layer, nn.GroupNorm)
        return functional.group_norm(inputs, layer.num_groups, eps=layer.eps)

    def _sum(self, products: Tensor) -> Tensor:
        """Over what shares a scale: [B, C, …] → [B, C], or [B, …, *normalized] → [B, *normalized]."""
        if isinstance(self.layer, nn.LayerNorm | nn.RMSNorm):
            kept = len(self.layer.normalized_shape)
            inner = products.shape[products.dim() - kept :]
            return products.reshape(len(products), -1, *inner).sum(dim=1)
        return products if products.dim() == 2 else products.flatten(2).sum(dim=2)
