"""Measures: numbers read off a model, any number of them in one pass over a split."""

from hpo_gn.measures.accuracy import Accuracy
from hpo_gn.measures.agn import AGN
from hpo_gn.measures.agn_online import OnlineAGN
from hpo_gn.measures.batch import Batch, Loss, Split, cross_entropy
from hpo_gn.measures.contract import Measure
from hpo_gn.measures.cost import Cost
from hpo_gn.measures.dead_units import DeadUnits
from hpo_gn.measures.entropy import PredictionEntropy
from hpo_gn.measures.gn import GN
from hpo_gn.measures.gsnr import GSNR
from hpo_gn.measures.loss import MeanLoss
from hpo_gn.measures.majority import Majority
from hpo_gn.measures.measuring import measure, read_in_training
from hpo_gn.measures.path import Path, along_path
from hpo_gn.measures.row import Row
from hpo_gn.measures.same_sign import SameSign
from hpo_gn.measures.samples import Batches, Samples
from hpo_gn.measures.sharpness import Sharpness
from hpo_gn.measures.spectrum import Spectrum

__all__ = [
    "AGN",
    "GN",
    "GSNR",
    "Accuracy",
    "Batch",
    "Batches",
    "Cost",
    "DeadUnits",
    "Loss",
    "Majority",
    "MeanLoss",
    "Measure",
    "OnlineAGN",
    "Path",
    "PredictionEntropy",
    "Row",
    "SameSign",
    "Samples",
    "Sharpness",
    "Spectrum",
    "Split",
    "along_path",
    "cross_entropy",
    "measure",
    "read_in_training",
]
