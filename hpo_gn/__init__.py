"""hpo_gn: hyperparameter optimization of PyTorch models under a GPU×epoch budget, as plugins for Optuna."""

from importlib.metadata import version

from hpo_gn.budget import Ledger
from hpo_gn.experiment import Experiment, make_objective
from hpo_gn.history import History
from hpo_gn.joining import join
from hpo_gn.result import Result
from hpo_gn.search import search
from hpo_gn.training import SupervisedTraining, Training

__version__ = version("hpo_gn")

__all__ = [
    "Experiment",
    "History",
    "Ledger",
    "Result",
    "SupervisedTraining",
    "Training",
    "join",
    "make_objective",
    "search",
]
