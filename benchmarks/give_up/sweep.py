"""Every setting replayed on many pools of a recorded table, and on the whole of it."""

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scipy.stats import binomtest

from benchmarks.give_up.fronts import Sweep
from benchmarks.give_up.judged import final_accuracy, final_loss, judge, rank
from benchmarks.give_up.replay import Replayed, replay
from benchmarks.give_up.rivals import Setting
from hpo_gn.recorded import RecordedRun, RecordedTable


def pool_of(runs: Sequence[RecordedRun], size: int, seed: int) -> list[RecordedRun]:
    """Runs drawn without replacement, in random order.

    Where there are enough, even and odd seeds draw from two halves that share no run, so that what was chosen
    on the pools of one kind can be judged on those of the other.
    """
    half = runs[seed % 2 :: 2] if len(runs) >= 2 * size else runs
    return random.Random(seed).sample(list(half), min(size, len(half)))


def sweep(recorded: RecordedTable, settings: Iterable[Setting], *, pools: int, size: int) -> Sweep:
    """Replay each setting on pools.

    Args:
        recorded: the table.
        settings: pruners.
        pools: how many.
        size: runs a pool.
    """
    drawn = [pool_of(recorded.runs, size, seed) for seed in range(pools)]
    return {
        setting: [
            judge(_replay(recorded, setting, runs, seed), recorded.epochs) for seed, runs in enumerate(drawn)
        ]
        for setting in settings
    }


def _replay(
    recorded: RecordedTable,
    setting: Setting,
    runs: Sequence[RecordedRun],
    seed: int,
    budget: float = math.inf,
) -> list[Replayed]:
    return replay(runs, setting.make(), name=f"order {seed}", epochs=recorded.epochs, budget=budget)


@dataclass(frozen=True)
class Spent:
    """A search of a fixed budget on the whole table in random order.

    Args:
        tried: runs that were begun.
        loss: final validation loss of the best that was trained to the end.
        accuracy: its final validation accuracy.
        ran_out: whether the table had no more runs while the budget had more epochs.
    """

    tried: int
    loss: float
    accuracy: float
    ran_out: bool


def spend(recorded: RecordedTable, setting: Setting, budget: int, orders: int) -> list[Spent]:
    """What a budget finds if the epochs saved become new runs.

    Args:
        recorded: the table.
        setting: the pruner.
        budget: in epochs; it must pay for the first round.
        orders: how many.
    """
    found = []
    for seed in range(orders):
        runs = random.Random(seed).sample(recorded.runs, len(recorded.runs))
        replayed = _replay(recorded, setting, runs, seed, budget)
        best = rank([each.run for each in replayed if each.completed])[0]
        left = budget - sum(each.epochs for each in replayed)
        ran_out = len(replayed) == len(runs) and left >= recorded.epochs
        found.append(Spent(len(replayed), final_loss(best), final_accuracy(best), ran_out))
    return found


@dataclass(frozen=True)
class Count:
    """The whole table, replayed once in the order of its trials.

    Args:
        given_up: runs.
        wrong: those of them among the best `top`.
        high: an exact bound of 95 % (Clopper and Pearson) for wrong / given_up, one-sided; NaN without any.
    """

    given_up: int
    wrong: int
    high: float


def count_wrong(recorded: RecordedTable, setting: Setting, top: int) -> Count:
    """How many of the runs given up are among the best `top` of the table."""
    replayed = _replay(recorded, setting, recorded.runs, 0)
    best = {run.number for run in rank(recorded.runs)[:top]}
    given_up = [each.run.number for each in replayed if each.given_up]
    wrong = sum(number in best for number in given_up)
    if not given_up:
        return Count(0, 0, math.nan)
    return Count(len(given_up), wrong, binomtest(wrong, len(given_up)).proportion_ci(0.9, "exact").high)
