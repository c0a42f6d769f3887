"""Measures: numbers read off a model at the end of an epoch, any number of them in one pass over a split."""

from hpo_gn.measures.accuracy import Accuracy
from hpo_gn.measures.agn import AGN
from hpo_gn.measures.batch import Batch, Loss, Split, cross_entropy
from hpo_gn.measures.evaluation import Batches, evaluate
from hpo_gn.measures.loss import MeanLoss
from hpo_gn.measures.measure import Measure

__all__ = [
    "AGN",
    "Accuracy",
    "Batch",
    "Batches",
    "Loss",
    "MeanLoss",
    "Measure",
    "Split",
    "cross_entropy",
    "evaluate",
]
