"""The gate that lets AGN count only where a model is well fitted."""

from dataclasses import dataclass

from hpo_gn.errors import ArgumentError
from hpo_gn.history import History
from hpo_gn.measures import Accuracy, Majority, Measure, PredictionEntropy


@dataclass(frozen=True)
class FitGate:
    """Whether a model is well fitted at a history's last epoch: it predicts its training split better than
    chance, it is sure enough of what it predicts, and not too many of its hidden units are dead.

    Below the gate the sign of AGN is wrong: the gradients of a model that has learnt nothing are small
    ("Can we use gradient norm…", Fig. 3: AGN correlates negatively with the generalization gap there).

    Args:
        accuracy: the least share of what chance leaves, (accuracy − majority) / (1 − majority) on the
            training split, in [0, 1]; majority is the accuracy of always naming the most frequent class.
        entropy: the largest mean entropy of a prediction on the training split, as a share of log C.
        dead_units: the largest share of hidden units that are the same for every validation sample, where
            that is recorded: a model without an `nn.Linear` has none to look at.

    Raises:
        ArgumentError: a level that is not in [0, 1].
    """

    accuracy: float = 0.5
    entropy: float = 0.5
    dead_units: float = 0.5

    def __post_init__(self) -> None:
        for name, level in vars(self).items():
            if not 0 <= level <= 1:
                raise ArgumentError(name, "from 0 to 1", level)

    def measures(self, samples: int | None = None) -> tuple[Measure, ...]:
        """What must be recorded.

        Args:
            samples: of the training split; None for all.
        """
        return (Accuracy("train", samples), PredictionEntropy("train", samples), Majority("train", samples))

    def passes(self, history: History) -> bool:
        """Whether the model is well fitted; not where a number is NaN."""
        chance = history.last("train_majority")
        return (
            history.last("train_accuracy") - chance >= self.accuracy * (1 - chance)
            and history.last("train_entropy") <= self.entropy
            and history.rows[-1].get("val_dead_units", 0.0) <= self.dead_units
        )


GATE = FitGate()
"""The gate of every gated objective."""
