"""Scores at initialization: one number of a network that was never trained, by which candidates compare."""

from hpo_gn.measures.initialization.fisher import Fisher
from hpo_gn.measures.initialization.grad_norm import GradNorm
from hpo_gn.measures.initialization.grad_sign import GradSign
from hpo_gn.measures.initialization.grasp import Grasp
from hpo_gn.measures.initialization.jacob_cov import JacobCov
from hpo_gn.measures.initialization.naswot import NASWOT
from hpo_gn.measures.initialization.parameter_count import ParameterCount
from hpo_gn.measures.initialization.snip import Snip
from hpo_gn.measures.initialization.synflow import SynFlow

__all__ = [
    "NASWOT",
    "Fisher",
    "GradNorm",
    "GradSign",
    "Grasp",
    "JacobCov",
    "ParameterCount",
    "Snip",
    "SynFlow",
]
