"""What all searchers share: arguments, global state, generations that wait for nobody, odd trials."""

import math
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from hpo_gn.errors import ArgumentError, UnknownNameError
from hpo_gn.searchers.cma_es import KEY, PyCmaSampler
from hpo_gn.searchers.particle_swarm import KEY as SWARM_KEY
from hpo_gn.searchers.particle_swarm import ParticleSwarmSampler
from hpo_gn.searchers.random import SeededRandomSampler
from hpo_gn.searchers.tpe import SeededTPESampler

SPACE: dict[str, BaseDistribution] = {
    "batch_size": IntDistribution(16, 1024, log=True),
    "learning_rate": FloatDistribution(1e-6, 1.0, log=True),
    "momentum": FloatDistribution(0.0, 1.0),
}
SEARCHERS: list[Any] = [PyCmaSampler, ParticleSwarmSampler, SeededRandomSampler, SeededTPESampler]
GENERATIONAL: list[tuple[Any, str, str, str]] = [
    (PyCmaSampler, "population_size", KEY, "generation"),
    (ParticleSwarmSampler, "particles", SWARM_KEY, "iteration"),
]


def loss(params: dict[str, Any]) -> float:
    distance = (math.log10(params["learning_rate"]) + 3) ** 2 / 36 + (params["momentum"] - 0.3) ** 2
    return distance + math.log(params["batch_size"] / 64) ** 2 / 16


def run(study: optuna.Study, n: int) -> None:
    for _ in range(n):
        trial = study.ask(SPACE)
        study.tell(trial, loss(trial.params))


GLOBALS = """
import logging, os, random, sys
import numpy, torch, warnings
warnings.simplefilter("error")
import optuna
from optuna.distributions import FloatDistribution
import hpo_gn.searchers.cma_es, hpo_gn.searchers.particle_swarm, hpo_gn.searchers.random, hpo_gn.searchers.tpe
root = logging.getLogger()
state = lambda: (str(numpy.random.get_state(legacy=False)["state"]["key"].tolist()), random.getstate(),
    torch.get_rng_state().tolist(), root.level, list(root.handlers), root.propagate, os.listdir())
before = state()
space = {"x": FloatDistribution(0.0, 1.0), "y": FloatDistribution(0.0, 1.0)}
for sampler in (hpo_gn.searchers.cma_es.PyCmaSampler, hpo_gn.searchers.particle_swarm.ParticleSwarmSampler,
                hpo_gn.searchers.random.SeededRandomSampler, hpo_gn.searchers.tpe.SeededTPESampler):
    study = optuna.create_study(sampler=sampler(search_space=space))
    for _ in range(25):
        trial = study.ask(space)
        study.tell(trial, trial.params["x"])
assert state() == before
assert os.listdir() == []
"""


@pytest.mark.slow
def test_global_state_is_left_alone(tmp_path: Path) -> None:
    """In a new process, where the libraries are imported for the first time: pyswarms writes at import."""
    command = [sys.executable, "-c", GLOBALS]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("make", SEARCHERS)
def test_wrong_arguments(make: Any) -> None:
    with pytest.raises(ArgumentError, match=r"^seed must be a non-negative integer, got -1$"):
        make(seed=-1)
    with pytest.raises(ArgumentError, match=r"^seed must be a non-negative integer, got True$"):
        make(seed=True)
    with pytest.raises(ArgumentError, match=r"^momentum must be in FloatDistribution.*, got 2.0$"):
        make(search_space=SPACE, initial={"batch_size": 64, "learning_rate": 0.1, "momentum": 2.0})
    with pytest.raises(ArgumentError, match=r"^momentum must be given a value"):
        make(search_space=SPACE, initial={"batch_size": 64, "learning_rate": 0.1})
    with pytest.raises(UnknownNameError, match="did you mean 'momentum'"):
        make(search_space=SPACE, initial={"momentun": 0.5})


@pytest.mark.parametrize("make", SEARCHERS)
def test_the_space_is_found_without_being_given(make: Any) -> None:
    initial = {"batch_size": 64, "learning_rate": 0.1, "momentum": 0.5}
    studies = [optuna.create_study(sampler=make(initial=initial, seed=1)) for _ in range(2)]
    for study in studies:
        study.optimize(
            lambda trial: loss({name: trial._suggest(name, d) for name, d in SPACE.items()}), n_trials=12
        )
    first, second = ([trial.params for trial in study.get_trials()] for study in studies)
    assert first == second
    assert first[0] == initial
    # Particle 0 starts where the first trial, which knew of no space, already was.
    assert len({str(params) for params in first}) == (11 if make is ParticleSwarmSampler else 12)


@pytest.mark.parametrize("make", SEARCHERS)
def test_a_parameter_outside_the_space_is_random_but_seeded(make: Any) -> None:
    def values(seed: int) -> list[float]:
        study = optuna.create_study(sampler=make(search_space=SPACE, seed=seed))
        found = []
        for _ in range(3):
            trial = study.ask(SPACE)
            found += [trial.suggest_float("extra", 0, 1), trial.suggest_float("more", 0, 1)]
            study.tell(trial, loss(trial.params))
        return found

    assert values(1) == values(1)
    assert len(set(values(1) + values(2))) == 12


@pytest.mark.parametrize("make", SEARCHERS)
def test_a_sampler_can_be_pickled(make: Any) -> None:
    study = optuna.create_study(sampler=make(search_space=SPACE))
    run(study, 12)
    copy = pickle.loads(pickle.dumps(make(search_space=SPACE)))
    expected = study.ask(SPACE).params
    study.tell(study.get_trials()[-1].number, state=TrialState.FAIL)
    again = optuna.create_study(sampler=copy)
    run(again, 12)
    assert again.ask(SPACE).params == expected


@pytest.mark.parametrize(("make", "size", "key", "counter"), GENERATIONAL)
def test_a_running_trial_blocks_nobody_and_a_late_one_changes_nothing(
    make: Any, size: str, key: str, counter: str
) -> None:
    """Two studies, equal but for the first trial: it never finishes, or finishes last, by far the best."""
    proposals = []
    for late in (False, True):
        study = optuna.create_study(sampler=make(search_space=SPACE, **{size: 4}))
        stuck = study.ask(SPACE)
        run(study, 12)
        generations = [trial.system_attrs[key][counter] for trial in study.get_trials()]
        assert generations[0] == 0
        assert generations[-1] >= 2
        if late:
            study.tell(stuck, -100.0)
        study.sampler = make(search_space=SPACE, **{size: 4})
        proposals.append(study.ask(SPACE).params)
    assert proposals[0] == proposals[1]


@pytest.mark.parametrize(("make", "size", "key", "counter"), GENERATIONAL)
@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_generations_that_failed_altogether(
    make: Any, size: str, key: str, counter: str, value: float | None
) -> None:
    study = optuna.create_study(sampler=make(search_space=SPACE, **{size: 4}))
    for _ in range(13):
        trial = study.ask(SPACE)
        if value is None or math.isnan(value):
            study.tell(trial, state=TrialState.FAIL)
        else:
            study.tell(trial, value)
    assert [t.system_attrs[key][counter] for t in study.get_trials()] == [0] * 4 + [1] * 4 + [2] * 4 + [3]
    assert len({str(trial.params) for trial in study.get_trials()}) == 13


@pytest.mark.parametrize(("make", "size", "key", "counter"), GENERATIONAL)
def test_a_copied_memory_is_ignored(make: Any, size: str, key: str, counter: str) -> None:
    """Optuna's retry callback copies every attribute to the new trial."""
    study = optuna.create_study(sampler=make(search_space=SPACE, **{size: 4}))
    run(study, 3)
    first = study.get_trials()[0]
    study.add_trial(
        optuna.create_trial(
            params=first.params, distributions=SPACE, value=-5.0, system_attrs=dict(first.system_attrs)
        )
    )
    assert study.get_trials()[-1].system_attrs[key]["trial"] == 0
    run(study, 2)
    assert [t.system_attrs[key][counter] for t in study.get_trials()[-2:]] == [0, 1]


@pytest.mark.filterwarnings(
    "ignore:Argument ``fixed_params``", "ignore:.*PartialFixedSampler is experimental"
)
@pytest.mark.parametrize(("make", "size", "key", "counter"), GENERATIONAL)
def test_it_learns_from_where_a_trial_was_not_from_where_it_was_proposed(
    make: Any, size: str, key: str, counter: str
) -> None:
    """Users fix parameters by `enqueue_trial`."""
    proposals = []
    for momentum in (0.0, 1.0):
        study = optuna.create_study(sampler=make(search_space=SPACE, **{size: 4}))
        for _ in range(4):
            study.enqueue_trial({"momentum": momentum})
        for _ in range(5):
            trial = study.ask(SPACE)
            study.tell(trial, trial.params["batch_size"])
        assert {t.params["momentum"] for t in study.get_trials()[:4]} == {momentum}
        proposals.append(study.get_trials()[4].params["momentum"])
    assert proposals[0] < proposals[1]


@pytest.mark.parametrize("make", SEARCHERS)
def test_under_a_hyperband_pruner_each_bracket_is_a_search_of_its_own(make: Any) -> None:
    def objective(trial: optuna.Trial) -> float:
        value = loss({name: trial._suggest(name, d) for name, d in SPACE.items()})
        for step in range(4):
            trial.report(value + 1 / (step + 1), step)
            if trial.should_prune():
                raise optuna.TrialPruned
        return value

    pruner = optuna.pruners.HyperbandPruner(min_resource=1, max_resource=4, reduction_factor=2)
    seen = []
    for shared in (True, False):
        study = optuna.create_study(study_name="s", pruner=pruner, sampler=make(search_space=SPACE))
        for _ in range(30):
            study.sampler = study.sampler if shared else make(search_space=SPACE)
            study.optimize(objective, n_trials=1)
        seen.append([trial.params for trial in study.get_trials()])
    assert seen[0] == seen[1]


@pytest.mark.parametrize("make", SEARCHERS)
def test_threads_share_a_sampler(make: Any) -> None:
    study = optuna.create_study(sampler=make(search_space=SPACE))
    study.optimize(
        lambda trial: loss({name: trial._suggest(name, d) for name, d in SPACE.items()}),
        n_trials=40,
        n_jobs=4,
    )
    assert {trial.state for trial in study.get_trials()} == {TrialState.COMPLETE}
    assert all(trial.params.keys() == SPACE.keys() for trial in study.get_trials())


@pytest.mark.parametrize("make", [PyCmaSampler, ParticleSwarmSampler])
def test_it_beats_random_search(make: Any) -> None:
    """A sphere on a log scale: the median best of five seeds after 120 trials."""

    def best(searcher: Any, seed: int) -> float:
        study = optuna.create_study(sampler=searcher(search_space=SPACE, seed=seed))
        run(study, 120)
        return study.best_value

    medians = [sorted(best(m, seed) for seed in range(5))[2] for m in (make, SeededRandomSampler)]
    assert medians[0] < medians[1] / 5


@pytest.mark.parametrize("sizes", [[1] * 12, [8, 8, 8], [9, 2], [10, 2], [30]])
def test_tpe_advises_where_all_its_trials_are_random(sizes):
    """A model's proposals depend on the values before them; random ones do not."""

    def proposals(sign):
        study = optuna.create_study(sampler=SeededTPESampler(search_space=SPACE))
        for size in sizes:
            for trial in [study.ask(SPACE) for _ in range(size)]:
                study.tell(trial, sign * loss(trial.params))
        return [trial.params for trial in study.trials]

    advice = SeededTPESampler(search_space=SPACE).advice([[4] * size for size in sizes])
    assert (advice is not None) == (proposals(1) == proposals(-1))
