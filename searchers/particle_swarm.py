"""Particle swarm optimization (pyswarms' backend) as an Optuna sampler whose only state is the study."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.study import Study
from optuna.trial import FrozenTrial

from hpo_gn.errors import ArgumentError
from hpo_gn.searchers._generations import Member, Point, pruned_behind, recall, remember
from hpo_gn.searchers._global_random import global_random
from hpo_gn.searchers._pyswarms import backend
from hpo_gn.searchers._seeded import SeededSampler
from hpo_gn.unit_cube import UnitCube

KEY = "hpo_gn:particle_swarm"
"""The system attribute with a trial's iteration, particle, position and velocity."""

MAX_VELOCITY = 0.25
"""The farthest a particle moves along an axis of the unit cube in one iteration."""

FEW_ITERATIONS = 10
"""In fewer than these particles hardly leave where they started: a swarm converges over tens."""

Iteration = list[Member]
"""The trial of each particle, in the particles' order."""


class ParticleSwarmSampler(SeededSampler):
    """A swarm on the unit cube of the search space, moved by pyswarms' backend (Kennedy and Eberhart 1995).

    Each particle is pulled to the best it has seen and to the best the whole swarm has seen (star topology):
    v ← w v + c₁ r₁ (own best − x) + c₂ r₂ (swarm's best − x), x ← x + v, with each |v| at most 0.25 of the
    parameter's range and x at the boundary if it would leave the cube. The defaults are Clerc's constriction
    coefficients. An iteration is complete when each particle has a finished trial; trials that still run hold
    nobody up, a particle may be tried again, with other r₁ and r₂, and the first to finish counts. A failed
    trial, and one whose value is not finite, is nobody's best; a pruned one counts by its value, but not
    before any that was completed.

    Args:
        search_space: as of `SeededSampler`.
        initial: where particle 0 starts, the middle of the space by default; the others start at random.
        particles: the number of particles, at least 2.
        inertia: w.
        cognitive: c₁.
        social: c₂.
        seed: as of `SeededSampler`.

    Raises:
        ArgumentError: an argument breaks its rule.
    """

    def __init__(
        self,
        *,
        search_space: Mapping[str, BaseDistribution] | None = None,
        initial: Mapping[str, Any] | None = None,
        particles: int = 8,
        inertia: float = 0.729,
        cognitive: float = 1.49445,
        social: float = 1.49445,
        seed: int = 0,
    ) -> None:
        super().__init__(search_space=search_space, initial=initial, seed=seed)
        if particles < 2:
            raise ArgumentError("particles", "an integer of at least 2", particles)
        for name, value in (("inertia", inertia), ("cognitive", cognitive), ("social", social)):
            if not 0 <= value < np.inf:
                raise ArgumentError(name, "a finite number of at least 0", value)
        self.particles = particles
        self.options = {"w": inertia, "c1": cognitive, "c2": social}

    def propose(self, study: Study, trial: FrozenTrial, cube: UnitCube) -> dict[str, Any]:
        """The parameters at the next position of the particle whose turn it is."""
        if cube.dimensions == 0:
            return cube.decode([])
        members = recall(study, KEY, cube)
        iterations = self._complete_iterations(members)
        particle, tries = self._turn(members, len(iterations))
        with global_random(self.random_state(trial.number)):
            if iterations:
                position, velocity = self._move(cube, iterations, particle)
            else:
                position, velocity = self._start(cube, at_initial=particle == tries == 0)
        remember(
            study,
            trial,
            KEY,
            cube,
            iteration=len(iterations),
            particle=particle,
            position=position.tolist(),
            velocity=velocity.tolist(),
        )
        return cube.decode(position)

    def advice(self, rounds: Sequence[Sequence[int]]) -> str | None:
        """Why a search of those rounds, each trial's epochs, makes no sense; None if it does."""
        count = sum(map(len, rounds)) // self.particles
        if count >= FEW_ITERATIONS:
            return None
        return f"{count} iterations of {self.particles} particles: a swarm converges over tens of iterations"

    def _complete_iterations(self, members: list[Member]) -> list[Iteration]:
        first: dict[tuple[int, int], Member] = {}
        for member in members:
            if member.finished:
                first.setdefault((member.memory["iteration"], member.memory["particle"]), member)
        iterations: list[Iteration] = []
        while all((len(iterations), particle) in first for particle in range(self.particles)):
            iterations.append([first[len(iterations), particle] for particle in range(self.particles)])
        # A particle's best is of all iterations, one of which may be pruned in full.
        rated = iter(pruned_behind(member for swarm in iterations for member in swarm))
        return [[next(rated) for _ in swarm] for swarm in iterations]

    def _turn(self, members: list[Member], iteration: int) -> tuple[int, int]:
        """The particle without a finished trial in the iteration that was tried least, and how often."""
        now = [member for member in members if member.memory["iteration"] == iteration]
        tries = Counter(member.memory["particle"] for member in now)
        done = {member.memory["particle"] for member in now if member.finished}
        waiting = [particle for particle in range(self.particles) if particle not in done]
        particle = min(waiting, key=lambda particle: (tries[particle], particle))
        return particle, tries[particle]

    def _start(self, cube: UnitCube, *, at_initial: bool) -> tuple[Point, Point]:
        position = np.random.random_sample(cube.dimensions)
        velocity = backend().generate_velocity(1, cube.dimensions, (-MAX_VELOCITY, MAX_VELOCITY))[0]
        return (self.start(cube) if at_initial else position), velocity

    def _move(self, cube: UnitCube, iterations: list[Iteration], particle: int) -> tuple[Point, Point]:
        swarm = self._swarm(cube, iterations)
        one = backend().Swarm(
            position=swarm.position[[particle]],
            velocity=swarm.velocity[[particle]],
            pbest_pos=swarm.pbest_pos[[particle]],
            # Where every trial has failed there is no best: a particle's own place does not pull.
            best_pos=swarm.best_pos if np.isfinite(swarm.best_cost) else swarm.pbest_pos[particle],
            options=self.options,
        )
        bounds = np.zeros(cube.dimensions), np.ones(cube.dimensions)
        star, clamp = backend().star, (-MAX_VELOCITY, MAX_VELOCITY)
        one.velocity = star.compute_velocity(one, clamp, backend().velocity_handler, bounds)
        return star.compute_position(one, bounds, backend().boundary_handler)[0], one.velocity[0]

    def _swarm(self, cube: UnitCube, iterations: list[Iteration]) -> Any:
        """pyswarms' swarm after the iterations, with every particle's best and the swarm's."""
        swarm = None
        for trials in iterations:
            position = np.array([trial.point(cube, trial.memory["position"]) for trial in trials])
            velocity = np.array([trial.memory["velocity"] for trial in trials])
            if swarm is None:
                swarm = backend().Swarm(position, velocity, pbest_cost=np.full(self.particles, np.inf))
            swarm.position, swarm.velocity = position, velocity
            swarm.current_cost = np.array([trial.cost for trial in trials])
            swarm.pbest_pos, swarm.pbest_cost = backend().compute_pbest(swarm)
            swarm.best_pos, swarm.best_cost = backend().star.compute_gbest(swarm)
        return swarm
