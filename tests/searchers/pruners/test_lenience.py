"""How lenient a rule must be, against a plain twin, and in searches whose truth is known."""

import math

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState, create_trial
from scipy.stats import beta

from hpo_gn.searchers.pruners._lenience import _bars, _sizes, least_lenient
from hpo_gn.searchers.pruners._past import Past
from hpo_gn.searchers.pruners.give_up import GiveUpPruner


def past(cost: float, signals: dict[int, float], standing: dict[int, float] | None = None) -> Past:
    return Past(cost, {}, signals, signals if standing is None else standing, {})


def random_pasts(seed: int, count: int, epochs: int, noise: float) -> list[Past]:
    """Runs whose signals tell of their costs, more or less; some are missing, and some costs are tied."""
    random = np.random.default_rng(seed)
    pasts = []
    for cost in random.integers(0, 40, count) / 40:
        signals = {e: float(cost + noise * random.normal()) for e in range(epochs) if random.uniform() < 0.8}
        pasts.append(
            past(float(cost), signals, {e: float(cost + random.uniform(-0.1, 0.4)) for e in signals})
        )
    pasts[0] = past(math.inf, pasts[0].signals)
    return pasts


def is_worse(run: Past, others: list[Past], best: int, top: int, epoch: int) -> bool:
    there = [other.signals[epoch] for other in others if epoch in other.signals][:best]
    if epoch not in run.signals or len(there) < top:
        return False
    return all(run.signals[epoch] > signal for signal in there)


def gives_up(run: Past, others: list[Past], best: int, top: int, recent: list[int]) -> bool:
    """The pruner's rule, in its own words."""
    others = sorted(others, key=lambda other: other.cost)
    if not all(is_worse(run, others, best, top, epoch) for epoch in recent):
        return False
    return run.standing[recent[-1]] > others[top - 1].cost


def twin(pasts: list[Past], top: int, level: float, epochs: list[int], patience: int) -> int | None:
    windows = [epochs[end - patience : end] for end in range(patience, len(epochs) + 1)]
    for best in _sizes(top, len(pasts)):
        wrong = count = 0
        for i, run in enumerate(pasts):
            others = pasts[:i] + pasts[i + 1 :]
            if any(gives_up(run, others, best, top, recent) for recent in windows):
                count += 1
                wrong += math.isfinite(run.cost) and sum(other.cost < run.cost for other in others) < top
        # Clopper and Pearson's upper limit.
        if count and (1.0 if wrong == count else beta.ppf(0.95, wrong + 1, count - wrong)) <= level:
            return best
    return None


@pytest.mark.parametrize("noise", [0.05, 0.3])
@pytest.mark.parametrize(("top", "patience"), [(1, 1), (3, 1), (3, 2), (1, 3)])
def test_it_is_what_the_rule_would_have_done_to_each_of_them(noise, top, patience):
    found = []
    for seed in range(6):
        pasts = random_pasts(seed, 40, 4, noise)
        for level in (0.1, 0.2, 0.4):
            expected = twin(pasts, top, level, [0, 1, 2], patience)
            assert least_lenient(pasts, top, level, [0, 1, 2], patience) == expected
            found.append(expected)
    assert len(set(found)) > (2 if patience == 1 else 1)


@pytest.mark.parametrize(
    ("top", "count", "sizes"),
    [(1, 1, []), (1, 2, [1]), (3, 3, []), (3, 4, [3]), (3, 20, [3, 4, 5, 6, 8, 10, 13, 17])],
)
def test_the_sizes_that_are_tried(top, count, sizes):
    assert _sizes(top, count) == sizes


@pytest.mark.parametrize(
    ("best", "top", "bars"),
    [
        (1, 1, [2.0, 1.0, 1.0]),
        (2, 2, [3.0, 3.0, 2.0]),
        (9, 2, [3.0, 3.0, 2.0]),
        (3, 3, [math.inf, math.inf, math.inf]),  # there are but two others
    ],
)
def test_the_worst_of_the_best_others_that_have_a_signal(best, top, bars):
    signals = np.array([[1.0], [2.0], [math.nan], [3.0]])
    assert _bars(signals, best, top)[[0, 1, 3], 0].tolist() == bars


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_too_few_runs_say_nothing(count):
    assert least_lenient([past(0.1 * k, {1: 0.1 * k}) for k in range(count)], 3, 0.99, [1]) is None


@pytest.mark.parametrize("level", [0.05, 0.1, 0.5])
def test_so_many_runs_without_a_mistake_are_needed(level):
    needed = math.ceil(math.log(0.05) / math.log(1 - level))
    runs = [past(0.1 * k, {1: 0.1 * k}) for k in range(needed + 3)]
    assert least_lenient(runs, 3, level, [1]) == 3
    assert least_lenient(runs[:-1], 3, level, [1]) is None
    assert least_lenient(runs, 3, level, []) is None


def test_who_has_what_the_best_end_with_is_not_given_up_so_it_does_not_count():
    """Half the runs over-fit: they stand well when their signal is poor, and end badly."""
    good = [past(0.1 + 0.001 * k, {1: 0.5}) for k in range(4)]
    overfit = [past(0.9, {1: 0.8}, {1: 0.05}) for _ in range(60)]
    assert least_lenient([*good, *overfit], 3, 0.05, [1]) is None
    behind = [past(0.9, {1: 0.8}) for _ in range(60)]
    assert least_lenient([*good, *behind], 3, 0.05, [1]) == 3


def simulate(seed: int, level: float | None, told: float, top: int = 10) -> tuple[int, int]:
    """Of 100 runs, those given up, and those of them that would have ended among the `top` of all.

    Args:
        seed: of the runs.
        level: the pruner's; None for the least lenience.
        told: what the first value tells of the last one, which makes a difference from 0 to 1.
        top: ranks.
    """
    random = np.random.default_rng(seed)
    pruner, study = GiveUpPruner(patience=1, false_kills=level, lenience=0.0, top=top), optuna.create_study()
    finals, given_up = random.uniform(size=100), []
    for number, final in enumerate(finals):
        curve = {1: float(2 + told * final + 0.1 * random.normal())}
        if pruner.prune(study, create_trial(state=TrialState.RUNNING, intermediate_values=curve)):
            given_up.append(number)
        else:
            study.add_trial(create_trial(value=float(final), intermediate_values=curve | {2: float(final)}))
    return len(given_up), sum(int((finals < finals[number]).sum()) < top for number in given_up)


@pytest.mark.parametrize(("told", "least", "misleads"), [(1.0, 100, False), (-0.3, 0, True)])
def test_the_level_holds_where_the_truth_is_known(told, least, misleads):
    level = 0.08
    given_up, wrong = np.array([simulate(seed, level, told) for seed in range(4)]).T
    assert (wrong <= level * given_up).all()
    assert given_up.sum() >= least
    eager, wrong = np.array([simulate(seed, None, told) for seed in range(4)]).T
    assert given_up.sum() < eager.sum()
    assert bool(wrong.sum() > level * eager.sum()) is misleads  # so the level is no empty promise
