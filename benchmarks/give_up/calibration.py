"""Which parameters of the early-success scores rank trainings best."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from benchmarks.give_up.scores import SUCCESS, Confusion, Floats, Trained, spearman, val_accuracy
from hpo_gn.measures.early_success import DEFAULTS, NORMALIZED, EarlySuccess, s_o, s_s

WINDOWS = (2, 3, 4, 5, 7, 10)
GRID = {
    "t2": (2.0, 3.0, 5.0, 7.0, 10.0, 15.0, 20.0, 40.0, math.inf),
    "delta": (-1e-3, 0.0, 1e-5, 3e-5, 1e-4, 3e-4, 1e-3),
}
"""An infinite t2 is never reached: no training counts as ended."""
NORMALIZED_GRID = {
    "eta": (0.0, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0),
    "gamma": (1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 1e-1),
    "t2": (0.5, 0.6, 0.7, 0.75, 0.8, math.inf),
    "delta": (-1e-3, 0.0, 1e-4, 1e-3, 3e-3),
}


@dataclass(frozen=True)
class Signals:
    """What s_Fv is made of at a checkpoint, [runs] each."""

    epoch: int
    steepness: Floats
    shift: Floats
    accuracy: Floats

    @classmethod
    def of(cls, trained: Trained, parameters: EarlySuccess) -> "list[Signals]":
        """At each checkpoint; of the parameters, the window and the normalization count."""
        return [
            cls(
                epoch,
                trained.at(epoch, lambda known: s_o(known, parameters)),
                trained.at(epoch, lambda known: s_s(known, parameters)),
                trained.at(epoch, val_accuracy),
            )
            for epoch in trained.histories
        ]

    def s_f(self, parameters: EarlySuccess) -> Floats:
        """As `hpo_gn.measures.early_success` computes it, for all runs at once."""
        return np.where(self._ended(parameters), 0.0, self._s_t(parameters))

    def s_fv(self, parameters: EarlySuccess) -> Floats:
        """As `hpo_gn.measures.early_success` computes it, for all runs at once."""
        gain = parameters.gamma * self.accuracy * self.epoch * self._s_t(parameters)
        raised = np.clip(self.accuracy * (1 + gain), 0.0, 1.0)
        return np.where(self._ended(parameters), self.accuracy, raised)

    def _s_t(self, parameters: EarlySuccess) -> Floats:
        level = self.steepness if parameters.normalized else np.abs(np.log(self.steepness))
        return level + parameters.eta * self.shift

    def _ended(self, parameters: EarlySuccess) -> Floats:
        return (self.steepness >= parameters.t2) & (self.shift <= parameters.delta)


def candidates(normalized: bool) -> Iterator[EarlySuccess]:
    """Each choice once, with one δ where t2 is never reached."""
    start, grid = (NORMALIZED, NORMALIZED_GRID) if normalized else (DEFAULTS, GRID)
    for values in product(*grid.values()):
        named = dict(zip(grid, values, strict=True))
        if named["t2"] < math.inf or named["delta"] == 0:
            yield replace(start, **named)


@dataclass(frozen=True)
class Choice:
    """What parameters achieve.

    Args:
        parameters: the choice.
        rank: mean over the checkpoints of Spearman of s_Fv and the final accuracy.
        separation: balanced accuracy of the prediction s_F > t1 at the first checkpoint.
    """

    parameters: EarlySuccess
    rank: float
    separation: float


def calibrate(trained: Trained, *, normalized: bool) -> list[Choice]:
    """Every choice, the best first: by rank, and among ranks that are the same to two digits, since so many
    runs do not tell more, by separation. A score that is the same for all runs ranks 0.

    The paper gives t1 for the score as published; for the normalized one each choice has the t1 that
    separates best.
    """
    found = []
    for t0 in WINDOWS:
        choices = [replace(each, t0=t0) for each in candidates(normalized)]
        signals = Signals.of(trained, choices[0])
        each = [spearman(np.stack([known.s_fv(one) for one in choices]), trained.final) for known in signals]
        ranks = np.nan_to_num(each).mean(0).tolist()
        found += [
            _choice(one, rank, signals[0].s_f(one), trained.final)
            for one, rank in zip(choices, ranks, strict=True)
        ]
    return sorted(found, key=lambda choice: (-round(choice.rank, 2), -choice.separation, -choice.rank))


def judge(trained: Trained, parameters: EarlySuccess) -> Choice:
    """What these parameters achieve, with a t1 of their own where they are normalized."""
    signals = Signals.of(trained, parameters)
    ranks = [np.nan_to_num(spearman(known.s_fv(parameters), trained.final)) for known in signals]
    return _choice(parameters, float(np.mean(ranks)), signals[0].s_f(parameters), trained.final)


def _choice(parameters: EarlySuccess, rank: float, s_f: Floats, final: Floats) -> Choice:
    if parameters.normalized:
        parameters = replace(parameters, t1=threshold(s_f, final))
    return Choice(parameters, rank, Confusion.of(s_f, parameters.t1, final).balanced_accuracy)


def threshold(score: Floats, final: Floats) -> float:
    """Midway between two scores, where successes are best told from failures by what is above it."""
    order = np.argsort(score)
    ordered, succeeds = score[order], final[order] > SUCCESS
    missed = np.cumsum(succeeds) / max(1, succeeds.sum())
    rejected = np.cumsum(~succeeds) / max(1, (~succeeds).sum())
    between = np.append(ordered[1:] > ordered[:-1], False)
    if not between.any():
        return float(ordered[-1])
    best = int(np.where(between, rejected - missed, -np.inf).argmax())
    return float((ordered[best] + ordered[best + 1]) / 2)
