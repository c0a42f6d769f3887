"""Per-sample gradients of all parameters, without storing them."""

from hpo_gn.measures.gradients.backpropagation import Backpropagation
from hpo_gn.measures.gradients.gradient import Gradient
from hpo_gn.measures.gradients.plan import check_samples_are_apart

__all__ = ["Backpropagation", "Gradient", "check_samples_are_apart"]
