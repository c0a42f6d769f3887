"""Optuna's exported sampler suite; it comes to 111 tests for each searcher."""

from collections.abc import Callable

import pytest
from optuna.samplers import BaseSampler
from optuna.testing.pytest_samplers import (
    BasicSamplerTestCase,
    RelativeSamplerTestCase,
    SingleOnlySamplerTestCase,
)

from hpo_gn.searchers.cma_es import PyCmaSampler
from hpo_gn.searchers.mo_tpe import MultiObjectiveTPESampler
from hpo_gn.searchers.nsga_ii import SeededNSGAIISampler
from hpo_gn.searchers.particle_swarm import ParticleSwarmSampler
from hpo_gn.searchers.random import SeededRandomSampler
from hpo_gn.searchers.tpe import SeededTPESampler


class TestPyCmaSampler(BasicSamplerTestCase, RelativeSamplerTestCase, SingleOnlySamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return PyCmaSampler


class TestParticleSwarmSampler(BasicSamplerTestCase, RelativeSamplerTestCase, SingleOnlySamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return ParticleSwarmSampler


class TestSeededRandomSampler(BasicSamplerTestCase, RelativeSamplerTestCase, SingleOnlySamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return SeededRandomSampler


class TestSeededTPESampler(BasicSamplerTestCase, RelativeSamplerTestCase, SingleOnlySamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return SeededTPESampler


class TestMultiObjectiveTPESampler(BasicSamplerTestCase, RelativeSamplerTestCase, SingleOnlySamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return MultiObjectiveTPESampler


class TestSeededNSGAIISampler(BasicSamplerTestCase, RelativeSamplerTestCase, SingleOnlySamplerTestCase):
    @pytest.fixture
    def sampler(self) -> Callable[[], BaseSampler]:
        return SeededNSGAIISampler
