"""Objectives: pure functions of a trial's History, lower is better. Imported as `hpo_gn.objectives`."""

if __name__ == "objectives":
    raise ImportError("import hpo_gn.objectives: a bare 'objectives' would be a second copy of every class")

from hpo_gn.objectives.agn_train import AgnTrain
from hpo_gn.objectives.agn_val import AgnVal
from hpo_gn.objectives.objective import Objective, RelativeObjective
from hpo_gn.objectives.one_deviation import OneDeviation
from hpo_gn.objectives.pareto import Pareto
from hpo_gn.objectives.rank_sum import RankSum
from hpo_gn.objectives.s_fv import SFv
from hpo_gn.objectives.val_error import ValError
from hpo_gn.objectives.val_loss import ValLoss

__all__ = [
    "AgnTrain",
    "AgnVal",
    "Objective",
    "OneDeviation",
    "Pareto",
    "RankSum",
    "RelativeObjective",
    "SFv",
    "ValError",
    "ValLoss",
]
