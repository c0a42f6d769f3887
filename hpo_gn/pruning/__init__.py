"""Pruning that can be trusted: shadows that show how often it was wrong, and no dependence on the workers."""

from hpo_gn.pruning.careful import CarefulPruner, careful_verdict
from hpo_gn.pruning.earlier_rounds import EarlierRounds
from hpo_gn.pruning.false_kills import FalseKills, count_false_kills, shadows_needed
from hpo_gn.pruning.named import named_pruner
from hpo_gn.pruning.shadows import GIVEN_UP, ShadowedPruner

__all__ = [
    "GIVEN_UP",
    "CarefulPruner",
    "EarlierRounds",
    "FalseKills",
    "ShadowedPruner",
    "careful_verdict",
    "count_false_kills",
    "named_pruner",
    "shadows_needed",
]
