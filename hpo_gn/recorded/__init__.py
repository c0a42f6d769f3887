"""Recorded trainings: written once from a study, and searched again without training."""

from hpo_gn.recorded.recording import record
from hpo_gn.recorded.replay import replay
from hpo_gn.recorded.replayed import Replayed
from hpo_gn.recorded.table import RecordedRun, RecordedTable, read_table, write_table

__all__ = ["RecordedRun", "RecordedTable", "Replayed", "read_table", "record", "replay", "write_table"]
