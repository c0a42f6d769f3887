"""What objectives that read AGN share: which AGN it is, and where it counts."""

import math
from typing import Literal

from hpo_gn.errors import ArgumentError
from hpo_gn.history import History
from hpo_gn.measures import AGN, MeanLoss, Measure, OnlineAGN
from hpo_gn.objectives._fit_gate import GATE

Reading = Literal["exact", "sampled", "online"]

_SAMPLES = 1000


class ReadsAgn:
    """Reads AGN = Σ_τ agn_τ over the epochs so far ("Can we use gradient norm…", section 2.1).

    Attributes:
        agn: "exact", over the training split; "sampled", over 1,000 random samples of it, always the same
            ones; or "online", gathered in training, another quantity (`OnlineAGN`). With the last two, what
            is read off the training split besides is of 1,000 samples too.
        gated: whether AGN counts only once the model is well fitted (`FitGate`).
    """

    agn: Reading
    gated: bool

    def __post_init__(self) -> None:
        if self.agn not in ("exact", "sampled", "online"):
            raise ArgumentError("agn", "'exact', 'sampled' or 'online'", self.agn)
        if not isinstance(self.gated, bool):
            raise ArgumentError("gated", "True or False", self.gated)

    @property
    def samples(self) -> int | None:
        """Of the training split that are measured; None for all."""
        return None if self.agn == "exact" else _SAMPLES

    @property
    def agn_measure(self) -> AGN | OnlineAGN:
        """The measure that AGN is the sum of."""
        return OnlineAGN() if self.agn == "online" else AGN(samples=self.samples)

    @property
    def gate_measures(self) -> tuple[Measure, ...]:
        """What the gate reads, if there is one."""
        return GATE.measures(self.samples) if self.gated else ()

    def agn_of(self, history: History) -> float:
        """AGN, whether it counts or not."""
        return sum(history.column("agn_online" if self.agn == "online" else "agn"))

    def counts(self, history: History) -> bool:
        """Whether AGN counts: there is no gate, or the model passes it at the last epoch."""
        return not self.gated or GATE.passes(history)


class ReadsLossAndAgn(ReadsAgn):
    """Reads two criteria, which are combined among the finished trials: the validation loss and AGN.

    By itself a history is worth its validation loss.
    """

    @property
    def measures(self) -> tuple[Measure, ...]:
        """What must be recorded."""
        return (self.agn_measure, MeanLoss("validation"), *self.gate_measures)

    def __call__(self, history: History) -> float:
        """The validation loss at the last epoch, which is what a trial is worth on its own."""
        return history.last("val_loss")

    def values(self, history: History) -> tuple[float, float]:
        """The validation loss at the last epoch and AGN, lower is better for both.

        What is NaN, and the AGN of a model that does not pass the gate, is infinite, worse than any other.
        """
        loss, agn = history.last("val_loss"), self.agn_of(history)
        agn = agn if self.counts(history) else math.inf
        return math.inf if math.isnan(loss) else loss, math.inf if math.isnan(agn) else agn
