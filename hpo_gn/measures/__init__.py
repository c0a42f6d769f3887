"""Measures: numbers read off a model, any number of them in one pass over a split."""

from hpo_gn.measures.accuracy import Accuracy
from hpo_gn.measures.agn import AGN
from hpo_gn.measures.batch import Batch, Loss, Split, cross_entropy
from hpo_gn.measures.contract import Measure
from hpo_gn.measures.cost import Cost
from hpo_gn.measures.gn import GN
from hpo_gn.measures.loss import MeanLoss
from hpo_gn.measures.measuring import Row, measure
from hpo_gn.measures.samples import Batches

__all__ = [
    "AGN",
    "GN",
    "Accuracy",
    "Batch",
    "Batches",
    "Cost",
    "Loss",
    "MeanLoss",
    "Measure",
    "Row",
    "Split",
    "cross_entropy",
    "measure",
]
