"""Shadows: which of the trials given up are trained to the end, and that it stays so."""

import math
import pickle

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.pruners import BasePruner, ThresholdPruner
from optuna.trial import TrialState

from hpo_gn.errors import ArgumentError
from hpo_gn.pruning import GIVEN_UP, EarlierRounds, ShadowedPruner
from hpo_gn.seeds import derive_seed

STEPS = 5


class CountingPruner(BasePruner):
    """Prunes from a step on, and counts how often it was asked."""

    def __init__(self, step, why=None):
        self.step, self.asked = step, 0
        if why is not None:
            self.reason = lambda study, trial: f"{why} at {trial.last_step}"

    def prune(self, study, trial):
        self.asked += 1
        return trial.last_step is not None and trial.last_step >= self.step


def objective(trial):
    x = trial.suggest_float("x", 0, 1)
    for step in range(1, STEPS + 1):
        trial.report(x, step)
        if trial.should_prune():
            raise optuna.TrialPruned
    return x


def optimize(pruner, n_trials, storage=None, n_jobs=1):
    study = optuna.create_study(
        study_name="s",
        storage=storage,
        pruner=pruner,
        sampler=optuna.samplers.RandomSampler(seed=1),
        load_if_exists=True,
    )
    study.optimize(objective, n_trials=n_trials, n_jobs=n_jobs)
    return study


def shadows(study):
    return {trial.number for trial in study.trials if trial.user_attrs.get(GIVEN_UP, {}).get("shadow")}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"share": -0.1}, r"share must be a number in \[0, 1\], got -0.1"),
        ({"share": 1.5}, r"share must be a number in \[0, 1\], got 1.5"),
        ({"share": math.nan}, r"share must be a number in \[0, 1\], got nan"),
        ({"share": True}, r"share must be a number in \[0, 1\], got True"),
        ({"share": "10 %"}, r"share must be a number in \[0, 1\], got '10 %'"),
        ({"seed": -1}, r"seed must be a non-negative integer, got -1"),
        ({"seed": True}, r"seed must be a non-negative integer, got True"),
        ({"seed": 0.5}, r"seed must be a non-negative integer, got 0.5"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ArgumentError, match=f"^{message}$"):
        ShadowedPruner(CountingPruner(1), **arguments)


@pytest.mark.parametrize("why", [None, "no hope"])
def test_a_trial_given_up_says_so(why):
    study = optimize(ShadowedPruner(CountingPruner(3, why), share=0), n_trials=1)
    (trial,) = study.trials
    reason = "CountingPruner" if why is None else "no hope at 3"
    assert trial.user_attrs[GIVEN_UP] == {"epoch": 3, "shadow": False, "reason": reason}
    assert trial.state == TrialState.PRUNED
    assert trial.last_step == 3


def test_a_shadow_is_trained_to_the_end_and_the_pruner_is_not_asked_again():
    inner = CountingPruner(3)
    study = optimize(ShadowedPruner(inner, share=1), n_trials=4)
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * 4
    assert all(trial.user_attrs[GIVEN_UP]["epoch"] == 3 for trial in study.trials)
    assert all(trial.user_attrs[GIVEN_UP]["shadow"] for trial in study.trials)
    assert inner.asked == 4 * 3


def test_what_is_not_given_up_bears_no_mark():
    study = optimize(ShadowedPruner(ThresholdPruner(upper=0.5), share=0), n_trials=20)
    for trial in study.trials:
        assert (
            (GIVEN_UP in trial.user_attrs) == (trial.state == TrialState.PRUNED) == (trial.params["x"] > 0.5)
        )


def test_the_trial_that_was_passed_knows_at_once():
    """Optuna's Trial keeps a copy of what is stored, which a pruner sees at the next epoch."""
    pruner = ShadowedPruner(CountingPruner(1), share=0)
    study = optuna.create_study(pruner=pruner)
    trial = study.ask()
    trial.report(1.0, 1)
    assert trial.should_prune()
    assert trial.user_attrs[GIVEN_UP] == study.trials[0].user_attrs[GIVEN_UP]


@pytest.mark.parametrize("step", [None, 0])
def test_a_trial_can_be_given_up_before_its_first_epoch(step):
    class AtOncePruner(BasePruner):
        def prune(self, study, trial):
            return np.True_

    study = optuna.create_study(pruner=ShadowedPruner(AtOncePruner(), share=0))
    trial = study.ask()
    if step is not None:
        trial.report(1.0, step)
    assert trial.should_prune()
    assert study.trials[0].user_attrs[GIVEN_UP]["epoch"] == 0


@pytest.mark.parametrize("share", [0.5, 0.0, 1.0])
def test_verdicts_survive_a_restart(tmp_path, share):
    """Each process has its own pruner; the second one's would give up nothing."""
    url = f"sqlite:///{tmp_path}/s.db"
    first = optuna.create_study(
        study_name="s", storage=url, pruner=ShadowedPruner(CountingPruner(2), share=share)
    )
    begun = [first.ask() for _ in range(8)]
    for trial in begun:
        trial.report(1.0, 2)
    verdicts = [trial.should_prune() for trial in begun]
    inner = CountingPruner(99)
    second = optuna.load_study(study_name="s", storage=url, pruner=ShadowedPruner(inner, share=share))
    for number, verdict in enumerate(verdicts):
        trial = optuna.Trial(second, begun[number]._trial_id)
        assert trial.should_prune() is verdict
    assert inner.asked == 0
    assert set(verdicts) == {0.5: {True, False}, 0.0: {True}, 1.0: {False}}[share]


def test_shadows_depend_on_neither_workers_nor_restarts(tmp_path):
    def pruner():
        return ShadowedPruner(CountingPruner(2), share=0.3, seed=7)

    alone = shadows(optimize(pruner(), 12))
    together = shadows(optimize(pruner(), 12, n_jobs=3))
    url = f"sqlite:///{tmp_path}/s.db"
    optimize(pruner(), 5, storage=url)
    again = shadows(optimize(pruner(), 7, storage=url))
    assert alone == together == again
    assert 0 < len(alone) < 12


def drawn(share, seed, numbers):
    pruner = ShadowedPruner(CountingPruner(0), share=share, seed=seed)
    return {number for number in numbers if pruner._is_shadow(number)}


@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 2**40), st.permutations(range(30)))
def test_draws_ignore_the_order_and_grow_with_the_share(share, other, seed, numbers):
    low, high = sorted((share, other))
    assert drawn(low, seed, numbers) == drawn(low, seed, range(30))
    assert drawn(low, seed, numbers) <= drawn(high, seed, numbers)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("seed", [0, 1, 2**40])
def test_the_share_is_kept(share, seed):
    n = 4000
    spread = math.sqrt(share * (1 - share) / n)
    assert abs(len(drawn(share, seed, range(n))) / n - share) <= 4 * spread


def test_seeds_draw_independently():
    n = 4000
    both = len(drawn(0.5, 0, range(n)) & drawn(0.5, 1, range(n))) / n
    assert abs(both - 0.25) < 4 * math.sqrt(0.25 * 0.75 / n)


def test_shadows_are_not_drawn_by_what_trials_are_trained_with():
    """Otherwise they would be those whose training has a low seed."""
    low = {number for number in range(1000) if derive_seed(3, number) < 2**62}
    assert 0.4 < len(drawn(0.5, 3, range(1000)) & low) / len(low) < 0.6


def test_it_can_be_sent_to_another_process():
    pruner = pickle.loads(pickle.dumps(ShadowedPruner(EarlierRounds(ThresholdPruner(upper=1)), 0.2, 5)))
    assert (pruner.share, pruner.seed, pruner.name) == (0.2, 5, "ThresholdPruner")
