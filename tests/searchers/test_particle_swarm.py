"""Particle swarm: against the textbook's loop in plain numpy, and its arguments."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from hpo_gn.errors import ArgumentError
from hpo_gn.searchers.particle_swarm import KEY, ParticleSwarmSampler
from hpo_gn.unit_cube import UnitCube

SPACE: dict[str, BaseDistribution] = {
    "batch_size": IntDistribution(16, 1024, log=True),
    "learning_rate": FloatDistribution(1e-6, 1.0, log=True),
    "momentum": FloatDistribution(0.0, 1.0),
}
INITIAL = {"batch_size": 32, "learning_rate": 0.5, "momentum": 0.9}
W, C = 0.729, 1.49445


def loss(number: int, params: dict[str, Any]) -> float:
    """Infinite for every fourth trial, and for all of the first iteration."""
    if number % 4 == 3 or number < 5:
        return math.inf
    distance = (math.log10(params["learning_rate"]) + 3) ** 2 + params["momentum"] ** 2
    return distance + math.log(params["batch_size"] / 64) ** 2


def textbook_twin(particles: int, iterations: int) -> list[dict[str, Any]]:
    """x, v, own best p and swarm's best g, particle by particle, without pyswarms."""
    cube = UnitCube(SPACE)
    d = cube.dimensions
    proposed: list[dict[str, Any]] = []
    x: list[npt.NDArray[np.float64]] = [np.empty(d)] * particles
    v, p, best = list(x), list(x), [math.inf] * particles
    for iteration in range(iterations):
        g = p[int(np.argmin(best))]
        for i in range(particles):
            number = len(proposed)
            random = np.random.RandomState(np.random.MT19937(np.random.SeedSequence([9, number])))
            if iteration == 0:
                x[i] = random.random_sample(d)
                v[i] = 0.5 * random.random_sample(d) - 0.25
                x[i] = cube.encode(INITIAL) if i == 0 else x[i]
                p[i] = x[i]
            else:
                target = g if min(best) < math.inf else p[i]
                r1, r2 = random.random_sample(d), random.random_sample(d)
                v[i] = np.clip(W * v[i] + C * r1 * (p[i] - x[i]) + C * r2 * (target - x[i]), -0.25, 0.25)
                x[i] = np.clip(x[i] + v[i], 0, 1)
            proposed.append(cube.decode(x[i]))
        for i, number in enumerate(range(iteration * particles, (iteration + 1) * particles)):
            if (value := loss(number, proposed[number])) < best[i]:
                best[i], p[i] = value, x[i]
    return proposed


@pytest.mark.parametrize("maximize", [False, True])
def test_the_textbooks_swarm(maximize: bool) -> None:
    study = optuna.create_study(direction="maximize" if maximize else "minimize")
    for number, expected in enumerate(textbook_twin(particles=5, iterations=8)):
        study.sampler = ParticleSwarmSampler(search_space=SPACE, initial=INITIAL, particles=5, seed=9)
        trial = study.ask(SPACE)
        assert trial.params == expected
        value = loss(number, trial.params)
        if math.isinf(value) and number % 2:
            study.tell(trial, state=TrialState.FAIL)
        else:
            study.tell(trial, -value if maximize else value)


def test_no_particle_moves_faster_than_documented_or_leaves_the_cube() -> None:
    sampler = ParticleSwarmSampler(search_space=SPACE, cognitive=5.0, social=5.0, particles=3)
    study = optuna.create_study(sampler=sampler)
    for number in range(60):
        trial = study.ask(SPACE)
        study.tell(trial, float(number % 7))
    for trial in study.get_trials():
        assert np.abs(trial.system_attrs[KEY]["velocity"]).max() <= 0.25
        assert min(trial.system_attrs[KEY]["position"]) >= 0
        assert max(trial.system_attrs[KEY]["position"]) <= 1


def test_a_particle_that_is_tried_again_gets_other_random_numbers() -> None:
    study = optuna.create_study(
        sampler=ParticleSwarmSampler(search_space=SPACE, initial=INITIAL, particles=3)
    )
    trials = [study.ask(SPACE) for _ in range(6)]
    particles = [t.system_attrs[KEY]["particle"] for t in study.get_trials()]
    assert particles == [0, 1, 2, 0, 1, 2]
    assert trials[0].params == INITIAL
    assert len({str(trial.params) for trial in trials}) == 6
    study.tell(trials[4], 1.0)
    study.tell(trials[1], 0.0)
    study.ask(SPACE)
    assert study.get_trials()[-1].system_attrs[KEY]["particle"] == 0
    for trial in (trials[0], trials[5]):
        study.tell(trial, 2.0)
    study.ask(SPACE)
    assert study.get_trials()[-1].system_attrs[KEY]["iteration"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"particles": 1}, "particles must be an integer of at least 2, got 1"),
        ({"inertia": -1}, "inertia must be a finite number of at least 0, got -1"),
        ({"social": math.inf}, "social must be a finite number of at least 0, got inf"),
        ({"cognitive": math.nan}, "cognitive must be a finite number of at least 0, got nan"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        ParticleSwarmSampler(**arguments)
    assert str(caught.value) == message


def test_advises_against_few_iterations():
    sampler = ParticleSwarmSampler(search_space=SPACE, particles=5)
    said = "3 iterations of 5 particles: a swarm converges over tens of iterations"
    assert sampler.advice([[2] * 8, [2] * 8]) == said
    assert sampler.advice([[2] * 49]) is not None
    assert sampler.advice([[2] * 50]) is None
