"""s_Fv: what the validation accuracy will be, foretold from a short run."""

from dataclasses import dataclass

from hpo_gn.history import History
from hpo_gn.measures import Accuracy, Measure, Spectrum
from hpo_gn.measures.early_success import DEFAULTS, EarlySuccess, expected_accuracy


@dataclass(frozen=True, repr=False)
class SFv:
    """1 − s_Fv at the last epoch, in [0, 1]: the validation error that the training is expected to end with
    ("Predicting the success of Gradient Descent for a particular Dataset-Architecture-Initialization",
    equation 8). It ranks configurations after fewer epochs than they would be trained.

    A history shorter than the window t0 has a window of its own length, and one of a single epoch, which says
    nothing of change, the validation error.

    Args:
        parameters: of the score.
    """

    parameters: EarlySuccess = DEFAULTS

    def __repr__(self) -> str:
        return "SFv()" if self.parameters == DEFAULTS else f"SFv({self.parameters!r})"

    @property
    def measures(self) -> tuple[Measure, ...]:
        """What must be recorded."""
        return (Accuracy("validation"), Spectrum())

    def __call__(self, history: History) -> float:
        """The objective's value."""
        return 1.0 - expected_accuracy(history, self.parameters)
