"""Schedules on paper: what decides them, and that skipping what repeats itself changes nothing."""

from collections import Counter
from importlib.util import find_spec

import optuna
import pytest

from hpo_gn.schedule import Planned, Simulation
from hpo_gn.searchers.bohb import BohbSampler

SPACE = {"x": optuna.distributions.FloatDistribution(0, 1)}

needs_hpbandster = pytest.mark.skipif(find_spec("hpbandster") is None, reason="hpbandster is not installed")


def ladder(min_epochs=1, **changes):
    """BOHB up to 8 epochs."""
    sampler = BohbSampler(search_space=SPACE, min_epochs=min_epochs, max_epochs=8, eta=2)
    return Simulation(**({"sampler": sampler, "epochs": 8, "round_size": 8} | changes))


def flat(**changes):
    return Simulation(
        **({"sampler": optuna.samplers.TPESampler(), "epochs": 3, "round_size": 4, "gpus": 2} | changes)
    )


@pytest.mark.parametrize(
    ("limit", "sizes", "spent"),
    [
        (0, [], 0),
        (-7, [], 0),
        (5, [], 0),
        (6, [1], 6),
        (35, [4, 1], 30),
        (48, [4, 4], 48),
        (7205, [4] * 300, 7200),
    ],
)
def test_a_sampler_that_assigns_no_epochs_gets_rounds_of_equal_trials(limit, sizes, spent):
    schedule = flat().run(limit)
    assert [len(proposed) for proposed in schedule.rounds] == sizes
    assert set(schedule.trials) <= {Planned(3, 3, promoted=False)}
    assert schedule.spent == spent


def test_such_a_sampler_is_not_asked_for_anything():
    class Unwilling(optuna.samplers.RandomSampler):
        def before_trial(self, study, trial):
            raise AssertionError

    assert len(flat(sampler=Unwilling()).run(24).trials) == 4


@needs_hpbandster
@pytest.mark.parametrize("size", [3, 8])
@pytest.mark.parametrize(
    "changes",
    [{}, {"from_scratch": True}, {"resumable": False}, {"gpus": 2}, {"measuring": 0.37}],
    ids=["continued", "from scratch", "not resumable", "two GPUs", "measuring charged"],
)
def test_skipping_what_repeats_itself_changes_nothing(size, changes, monkeypatch):
    simulation = ladder(min_epochs=2, round_size=size, **changes)
    limits = [499, 510]
    skipped = [simulation.run(limit) for limit in limits]
    monkeypatch.delattr(BohbSampler, "schedule_state")
    whole = [simulation.run(limit) for limit in limits]
    assert [schedule.rounds for schedule in skipped] == [schedule.rounds for schedule in whole]
    assert [schedule.spent for schedule in skipped] == pytest.approx([schedule.spent for schedule in whole])


@needs_hpbandster
def test_a_long_schedule_takes_few_proposals(monkeypatch):
    asked = []
    real = BohbSampler.before_trial
    monkeypatch.setattr(BohbSampler, "before_trial", lambda *arguments: asked.append(1) or real(*arguments))
    schedule = ladder(min_epochs=2).run(60_000)
    assert schedule.spent == 60_000
    assert len(schedule.trials) > 10_000 > 1_000 > len(asked)


@needs_hpbandster
def test_counts_do_not_depend_on_the_values_of_trials():
    values = [
        lambda trial: 0.0,
        lambda trial: trial.number,
        lambda trial: -trial.number,
        lambda trial: hash(trial.number * 7919) % 101,
    ]
    first, *others = (ladder(value=value).run(200) for value in values)
    assert all(other == first for other in others)


@needs_hpbandster
def test_a_promoted_trial_runs_what_it_adds():
    trials = ladder().run(40).trials
    assert {trial for trial in trials if trial.promoted} == {
        Planned(2, 1, promoted=True),
        Planned(4, 2, promoted=True),
        Planned(8, 4, promoted=True),
    }
    again = ladder(from_scratch=True).run(60).trials
    assert all(trial.runs == trial.epochs for trial in again)
    assert Counter(trial.promoted for trial in again)[True] >= 7


def test_measuring_that_is_charged_makes_trials_dearer():
    free, charged = flat().run(600), flat(measuring=0.5).run(600)
    assert len(free.trials) == 100
    assert charged.spent == 9 * len(charged.trials)
    # The last trials must set aside a quarter more than measuring will take.
    assert 600 - 2 * 9 < charged.spent <= 600
