"""How a search stands: its budget, workers, trials and measures, read without changing anything."""

from hpo_gn.status.model import OVER, MeasureStatus, StageStatus, Status, TrialStatus, WorkerStatus
from hpo_gn.status.pace import Pace
from hpo_gn.status.reader import StatusReader, read_status
from hpo_gn.status.tables import describe

__all__ = [
    "OVER",
    "MeasureStatus",
    "Pace",
    "StageStatus",
    "Status",
    "StatusReader",
    "TrialStatus",
    "WorkerStatus",
    "describe",
    "read_status",
]
