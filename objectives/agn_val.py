"""AGN added to the validation loss."""

from dataclasses import dataclass

from hpo_gn.history import History
from hpo_gn.measures import MeanLoss, Measure
from hpo_gn.objectives._agn_term import AgnTerm


@dataclass(frozen=True)
class AgnVal(AgnTerm):
    """AGN+Val: α · AGN + the mean validation loss at the last epoch (section 4.1)."""

    @property
    def measures(self) -> tuple[Measure, ...]:
        """What must be recorded."""
        return (self.agn_measure, MeanLoss("validation"), *self.gate_measures)

    def __call__(self, history: History) -> float:
        """The objective's value."""
        return self.with_agn(history.last("val_loss"), history)
