"""The budget: a limit in GPU×epochs, and the ledger that enforces it."""

from hpo_gn.budget.account import Account
from hpo_gn.budget.hold import Hold
from hpo_gn.budget.ledger import Ledger
from hpo_gn.budget.statement import Statement, TrialEntry, WorkerEntry

__all__ = ["Account", "Hold", "Ledger", "Statement", "TrialEntry", "WorkerEntry"]
