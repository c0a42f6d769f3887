"""AGN added to the training loss."""

from dataclasses import dataclass

from hpo_gn.history import History
from hpo_gn.measures import MeanLoss, Measure
from hpo_gn.objectives._agn_term import AgnTerm


@dataclass(frozen=True)
class AgnTrain(AgnTerm):
    """AGN+Train: α · AGN + the mean training loss at the last epoch, in evaluation mode (section 4.1)."""

    @property
    def measures(self) -> tuple[Measure, ...]:
        """What must be recorded."""
        return (self.agn_measure, MeanLoss("train", self.samples), *self.gate_measures)

    def __call__(self, history: History) -> float:
        """The objective's value."""
        return self.with_agn(history.last("train_loss"), history)
