"""The bound on false kills: exact, and kept in searches."""

import math

import numpy as np
import optuna
import pytest
from optuna.pruners import BasePruner
from optuna.trial import TrialState

from hpo_gn.pruning import FalseKills, ShadowedPruner, count_false_kills, shadows_needed


def false_kills(**numbers):
    nothing = dict.fromkeys(("trials", "given_up", "shadows", "wrong", "epochs_saved", "shadow_epochs"), 0)
    return FalseKills(**{**nothing, "top": 3, "confidence": 0.95, **numbers})


def at_most(wrong, shadows, share):
    """Probability of so few wrong ones, the binomial's sum written out."""
    return sum(math.comb(shadows, k) * share**k * (1 - share) ** (shadows - k) for k in range(wrong + 1))


CASES = [(wrong, shadows) for shadows in (1, 2, 3, 10, 59) for wrong in sorted({0, 1, shadows // 2, shadows})]


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
@pytest.mark.parametrize(("wrong", "shadows"), CASES)
def test_the_bound_is_where_so_few_become_improbable(wrong, shadows, confidence):
    counted = false_kills(shadows=shadows, wrong=wrong, confidence=confidence)
    if wrong == shadows:
        assert counted.bound == 1.0
    else:
        assert at_most(wrong, shadows, counted.bound) == pytest.approx(1 - confidence)


@pytest.mark.parametrize(("wrong", "shadows"), CASES)
def test_the_interval_leaves_as_much_out_on_either_side(wrong, shadows):
    low, high = false_kills(shadows=shadows, wrong=wrong).interval
    assert low == 0 if wrong == 0 else 1 - at_most(wrong - 1, shadows, low) == pytest.approx(0.025)
    assert high == 1 if wrong == shadows else at_most(wrong, shadows, high) == pytest.approx(0.025)


def test_without_shadows_nothing_is_known():
    counted = false_kills()
    assert (counted.rate, counted.bound, counted.interval, counted.tells) == (None, 1.0, (0.0, 1.0), False)


@pytest.mark.parametrize(
    ("level", "confidence", "needed"), [(0.05, 0.95, 59), (0.25, 0.95, 11), (0.01, 0.99, 459)]
)
def test_shadows_needed(level, confidence, needed):
    assert shadows_needed(level, confidence) == needed
    assert false_kills(shadows=needed, confidence=confidence).bound <= level
    assert false_kills(shadows=needed - 1, confidence=confidence).bound > level


def test_the_bound_holds_as_often_as_it_says():
    """Exactly, over what the binomial can give; it is not so careful either as to be of no use."""
    held = []
    for shadows in (5, 20, 60):
        bounds = [false_kills(shadows=shadows, wrong=wrong).bound for wrong in range(shadows + 1)]
        for share in np.linspace(0.01, 0.9, 40):
            missed = [wrong for wrong, bound in enumerate(bounds) if bound < share]
            held.append(1 - at_most(max(missed, default=-1), shadows, share))
    assert min(held) >= 0.95
    assert min(held) < 0.96


class EarlyPruner(BasePruner):
    """Prunes at step 1 whatever is worse there than a level."""

    def prune(self, study, trial):
        return trial.intermediate_values[1] > 0


def simulated(seed, n=60, top=6):
    """What a search counts in which a poor early value prunes, and the true share."""
    random = np.random.RandomState(seed)
    final = random.normal(size=n)
    early = final + random.normal(scale=1.5, size=n)
    study = optuna.create_study(
        sampler=optuna.samplers.RandomSampler(), pruner=ShadowedPruner(EarlyPruner(), share=0.5, seed=seed)
    )
    for number in range(n):
        asked = study.ask()
        asked.report(early[number], 1)
        if asked.should_prune():
            study.tell(asked, state=TrialState.PRUNED)
        else:
            asked.report(final[number], 2)
            study.tell(asked, final[number])
    best = np.sort(final)[top - 1]
    given_up = [number for number in range(n) if early[number] > 0]
    return count_false_kills(study, top=top), np.mean([final[number] <= best for number in given_up])


def test_the_bound_holds_in_searches():
    """The true share is taken among all trials, as if each had been trained to the end."""
    found = [simulated(seed) for seed in range(100)]
    assert np.mean([counted.bound >= truth for counted, truth in found]) >= 0.95
    assert np.mean([counted.rate >= truth for counted, truth in found]) < 0.95
    # What was stopped is missing among the rivals, so shadows look better than they are.
    assert np.mean([counted.rate - truth for counted, truth in found]) > 0
    assert all(counted.shadow_epochs == counted.shadows for counted, _ in found)
    assert all(counted.epochs_saved == counted.given_up for counted, _ in found)
