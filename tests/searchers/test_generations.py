"""What a generation costs, and that a value of few epochs never leads a searcher."""

import math
from collections.abc import Callable

import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.samplers import BaseSampler
from optuna.trial import TrialState

from hpo_gn.searchers import _generations, particle_swarm
from hpo_gn.searchers._generations import Member, complete_generations, pruned_behind, recall, remember
from hpo_gn.searchers.cma_es import PyCmaSampler
from hpo_gn.searchers.particle_swarm import ParticleSwarmSampler
from hpo_gn.unit_cube import UnitCube

INF = math.inf
CUBE = UnitCube({"x": FloatDistribution(0.0, 1.0)})


def member(number: int, cost: float, *, pruned: bool = False, generation: int = 0, finished: bool = True):
    return Member(number, (), finished, cost, pruned, {"generation": generation})


@pytest.mark.parametrize(
    ("completed", "pruned", "behind"),
    [
        ([0.2, 0.5, 0.3], [0.1, 0.9], [0.5, 0.9]),
        ([0.2], [0.2, 0.1], [0.2, 0.2]),
        ([0.2, INF], [0.1, INF], [0.2, INF]),  # who failed is no measure
        ([INF, INF], [0.1, 0.3], [0.1, 0.3]),
        ([], [0.1, 0.3], [0.1, 0.3]),
        ([0.2, -0.5], [-0.9], [0.2]),
        ([0.2], [], []),
    ],
)
def test_pruned_trials_cost_as_much_as_the_worst_completed_one_at_least(completed, pruned, behind):
    ours = [member(number, cost) for number, cost in enumerate(completed)]
    others = [member(number + 10, cost, pruned=True) for number, cost in enumerate(pruned)]
    found = pruned_behind(iter([*others, *ours]))
    assert found[len(others) :] == tuple(ours)
    assert [each.cost for each in found[: len(others)]] == behind
    assert [each.number for each in found[: len(others)]] == [each.number for each in others]
    assert all(each.pruned for each in found[: len(others)])


def test_each_generation_has_a_worst_of_its_own():
    members = [
        member(1, 0.4),
        member(0, 0.1, pruned=True),
        member(2, 0.9, generation=1),
        member(3, 0.1, pruned=True, generation=1),
        member(4, 0.0, generation=2),
    ]
    first, second = complete_generations(members, size=2)
    assert [(each.number, each.cost) for each in first] == [(0, 0.4), (1, 0.4)]
    assert [(each.number, each.cost) for each in second] == [(2, 0.9), (3, 0.9)]


def test_a_trial_that_finishes_after_its_generation_is_complete_changes_nothing():
    members = [member(1, 0.4), member(2, 0.1, pruned=True), member(0, 7.0)]
    assert complete_generations(members, size=2) == complete_generations(members[:2], size=2)


@pytest.mark.parametrize(("direction", "sign"), [("minimize", 1), ("maximize", -1)])
def test_what_is_recalled_says_who_was_pruned(direction, sign):
    study = optuna.create_study(direction=direction)
    for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, None):
        trial = study.ask()
        remember(study, study._storage.get_trial(trial._trial_id), "key", CUBE, generation=0)
        if state == TrialState.COMPLETE:
            study.tell(trial, sign * 0.5)
        elif state == TrialState.PRUNED:
            trial.report(sign * 0.2, 1)
            study.tell(trial, state=state)
        elif state == TrialState.FAIL:
            study.tell(trial, state=state)
    found = [(each.number, each.finished, each.cost, each.pruned) for each in recall(study, "key", CUBE)]
    assert found == [
        (0, True, 0.5, False),
        (1, True, 0.2, True),
        (2, True, INF, False),
        (3, False, INF, False),
    ]


SEARCHERS: dict[str, Callable[[], BaseSampler]] = {
    "cma-es": lambda: PyCmaSampler(population_size=6, seed=3),
    "particle-swarm": lambda: ParticleSwarmSampler(particles=6, seed=3),
}


def proposals(searcher: str, value_after_one_of_ten: Callable[[float], float]) -> list[float]:
    """Where 60 trials were proposed. Their values add up over the epochs, and those far from the optimum
    at 0.8 are pruned after one epoch of ten, with the value that they are then said to have.
    """
    study = optuna.create_study(sampler=SEARCHERS[searcher]())

    def objective(trial: optuna.Trial) -> float:
        x, y = trial.suggest_float("x", 0.0, 1.0), trial.suggest_float("y", 0.0, 1.0)
        total = 10 * (1 + abs(x - 0.8) + abs(y - 0.8))
        if abs(x - 0.8) > 0.3:
            trial.report(value_after_one_of_ten(total), 1)
            raise optuna.TrialPruned
        return total

    study.optimize(objective, n_trials=60)
    return [trial.params["x"] for trial in study.trials]


def near(xs: list[float]) -> int:
    return sum(abs(x - 0.8) <= 0.3 for x in xs)


@pytest.mark.parametrize("searcher", SEARCHERS)
def test_a_value_that_adds_up_over_epochs_does_not_mislead(searcher, monkeypatch):
    added_up = proposals(searcher, lambda total: total / 10)
    assert added_up == proposals(searcher, lambda total: -1e6)
    assert near(added_up[-18:]) >= 15
    for module in (_generations, particle_swarm):
        monkeypatch.setattr(module, "pruned_behind", tuple)
    assert near(proposals(searcher, lambda total: total / 10)[-18:]) < 9  # it would mislead


def test_a_particles_best_is_no_run_that_was_given_up_while_others_were_completed():
    """Bests are of all iterations, one of which may be given up in full."""
    costs = [(10.0, False), (11.0, False), (1.0, True), (2.0, True)]
    members = [
        Member(
            number,
            (),
            finished=True,
            cost=cost,
            pruned=pruned,
            memory={"iteration": number // 2, "particle": number % 2},
        )
        for number, (cost, pruned) in enumerate(costs)
    ]
    iterations = ParticleSwarmSampler(particles=2)._complete_iterations(members)
    assert [[member.cost for member in each] for each in iterations] == [[10.0, 11.0], [11.0, 11.0]]
