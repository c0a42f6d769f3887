"""Statistics of nested data: tasks, and seeds within them, that all methods share."""

from hpo_gn.statistics.overtuning import overtuning
from hpo_gn.statistics.paired import Difference, Verdict, compare, holm
from hpo_gn.statistics.ranks import Ranks, rank

__all__ = ["Difference", "Ranks", "Verdict", "compare", "holm", "overtuning", "rank"]
