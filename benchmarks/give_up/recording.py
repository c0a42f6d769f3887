"""What a recorded run holds: the validation loss for its value, and the spectra beside what is always
recorded.
"""

from dataclasses import dataclass

from hpo_gn.history import History
from hpo_gn.measures import DeadUnits, Majority, MeanLoss, Measure, PredictionEntropy, Spectrum


@dataclass(frozen=True)
class Recording:
    """The validation loss, with the spectra recorded beside it, so that every pruner can be replayed."""

    @property
    def measures(self) -> tuple[Measure, ...]:
        """What must be recorded."""
        return (MeanLoss("validation"), Spectrum(), DeadUnits(), PredictionEntropy(), Majority())

    def __call__(self, history: History) -> float:
        """The objective's value."""
        return history.last("val_loss")
