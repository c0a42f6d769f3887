"""What a replay saved, and what it cost: the figures by which pruners are compared."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.give_up.replay import Replayed
from hpo_gn.recorded import RecordedRun

TOP = 3
"""Ranks that must not be lost."""


@dataclass(frozen=True)
class Judged:
    """One replay of a pool.

    Args:
        saved: share of the pool's epochs that were not spent.
        loss_regret: final validation loss of the chosen run, the best that was trained to the end, less the
            pool's best. Where none was, the pool's worst counts as chosen.
        accuracy_regret: the pool's best final validation accuracy less the chosen run's.
        rank: of the chosen run in the pool by final validation loss, from 1.
        lost: share of the pool's `TOP` best that were given up: false kills.
        given_up: how many runs were given up.
        wrong: share of those that are among the pool's `TOP` best; NaN if there are none.
        epoch: median epoch at which runs were given up; NaN if there are none.
        before_drop: share of them given up before the learning rate first fell; NaN likewise.
    """

    saved: float
    loss_regret: float
    accuracy_regret: float
    rank: int
    lost: float
    given_up: int
    wrong: float
    epoch: float
    before_drop: float


def judge(replayed: Sequence[Replayed], epochs: int) -> Judged:
    """The figures of a replay that showed a whole pool.

    Args:
        replayed: of at least one run that was recorded to the end.
        epochs: of such a run. Its learning rate first falls after half of them.
    """
    ranked = rank([each.run for each in replayed])
    completed = {each.run.number for each in replayed if each.completed}
    chosen = next((run for run in ranked if run.number in completed), ranked[-1])
    top = {run.number for run in ranked[:TOP]}
    given_up = [each for each in replayed if each.given_up]
    wrong = sum(each.run.number in top for each in given_up)
    return Judged(
        saved=1 - sum(each.epochs for each in replayed) / sum(each.run.epochs for each in replayed),
        loss_regret=final_loss(chosen) - final_loss(ranked[0]),
        accuracy_regret=max(map(final_accuracy, ranked)) - final_accuracy(chosen),
        rank=ranked.index(chosen) + 1,
        lost=wrong / len(top),
        given_up=len(given_up),
        wrong=wrong / len(given_up) if given_up else math.nan,
        epoch=median(each.epochs for each in given_up) if given_up else math.nan,
        before_drop=_mean([each.epochs <= epochs // 2 for each in given_up]),
    )


def rank(runs: Sequence[RecordedRun]) -> list[RecordedRun]:
    """Those that were recorded to the end, the best final validation loss first."""
    return sorted((run for run in runs if run.completed), key=final_loss)


def final_loss(run: RecordedRun) -> float:
    """Its validation loss at the end."""
    return run.history.last("val_loss")


def final_accuracy(run: RecordedRun) -> float:
    """Its validation accuracy at the end."""
    return run.history.last("val_accuracy")


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan
