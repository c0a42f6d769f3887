"""Searchers of two criteria: Optuna's own on a study of two objectives, which only the Histories know of."""

import math
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import NSGAIISampler
from optuna.trial import TrialState

from hpo_gn.errors import ArgumentError, StudyError
from hpo_gn.history import write_row
from hpo_gn.objectives import Pareto
from hpo_gn.registry import load
from hpo_gn.searchers.mo_tpe import MultiObjectiveTPESampler
from hpo_gn.searchers.nsga_ii import KEY, SeededNSGAIISampler
from hpo_gn.searchers.random import SeededRandomSampler

SPACE: dict[str, BaseDistribution] = {"x": FloatDistribution(0.0, 1.0), "y": FloatDistribution(0.0, 1.0)}
BOTH = pytest.mark.parametrize("name", ["mo-tpe", "nsga-ii"])


def make(name: str, **settings: Any) -> Any:
    return load("searcher", name)(search_space=SPACE, **settings)


def criteria(x: float, y: float) -> tuple[float, float]:
    """The front is y = 0, with x from 0.2 to 0.4."""
    return (x - 0.2) ** 2 + y, (x - 0.4) ** 2 + y


def run(study: optuna.Study, trials: int) -> None:
    for _ in range(trials):
        trial = study.ask(SPACE)
        loss, agn = criteria(**trial.params)
        write_row(trial, 1, {"val_loss": loss, "agn": agn})
        study.tell(trial, loss)


def mean_distance(searcher: Any) -> float:
    """Of the last ten trials to the front, over three seeds."""
    distances = []
    for seed in range(3):
        study = optuna.create_study(sampler=searcher(search_space=SPACE, seed=seed))
        run(study, 60)
        for params in (trial.params for trial in study.get_trials()[-10:]):
            distances.append(math.hypot(max(0.2 - params["x"], params["x"] - 0.4, 0.0), params["y"]))
    return sum(distances) / len(distances)


@pytest.mark.parametrize("searcher", [MultiObjectiveTPESampler, SeededNSGAIISampler])
def test_it_finds_the_front(searcher):
    assert mean_distance(searcher) < 0.75 * mean_distance(SeededRandomSampler)


@BOTH
def test_only_the_criteria_count(name):
    """Not the study's values, and not what a pruned or a failed trial, or one without a History, says."""
    proposals = []
    for sign, extra in ((1, 0.3), (-1, 0.7)):
        study = optuna.create_study(sampler=make(name, criteria=lambda history: (history.last("a"), 0.0)))
        for number in range(40):
            trial = study.ask(SPACE)
            state = {3: TrialState.PRUNED, 4: TrialState.FAIL}.get(number % 5, TrialState.COMPLETE)
            if number % 5 != 2:
                told = state == TrialState.COMPLETE
                write_row(trial, 1, {"a": trial.params["x"] if told else extra})
            trial.report(sign * trial.params["y"], 1)
            study.tell(trial, sign * trial.params["y"] if state == TrialState.COMPLETE else None, state)
        proposals.append([trial.params for trial in study.get_trials()])
    assert proposals[0] == proposals[1]
    late = [params["x"] for params in proposals[0][20:]]
    assert sum(late) / len(late) < 0.4


@BOTH
def test_criteria_may_be_infinite(name):
    def only_low(history):
        return history.last("x"), math.inf if history.last("x") > 0.5 else 1.0

    study = optuna.create_study(sampler=make(name, criteria=only_low))
    for _ in range(40):
        trial = study.ask(SPACE)
        write_row(trial, 1, {"x": trial.params["x"]})
        study.tell(trial, 0.0)
    late = [trial.params["x"] for trial in study.get_trials()[-10:]]
    assert sum(late) / len(late) < 0.4


@BOTH
def test_a_history_that_lacks_a_criterion_is_said(name):
    study = optuna.create_study(sampler=make(name))

    def objective(trial):
        trial.suggest_float("x", 0, 1)
        write_row(trial, 1, {"val_loss": 1.0})
        return 1.0

    with pytest.raises(StudyError, match="the history has no 'agn' at epoch 1"):
        study.optimize(objective, n_trials=12)


@BOTH
def test_the_study_is_left_as_it_is(name):
    """Optuna keeps NSGA-II's parents in the study, which only says what they were at the time."""
    study = optuna.create_study(sampler=make(name))
    run(study, 24)
    assert study.directions == [optuna.study.StudyDirection.MINIMIZE]
    assert study._storage.get_study_system_attrs(study._study_id) == {}
    for trial in study.get_trials():
        assert set(trial.system_attrs) <= {KEY}
        assert trial.values == [criteria(**trial.params)[0]]


def test_by_default_they_are_validation_loss_and_agn():
    assert MultiObjectiveTPESampler().criteria.__self__ == Pareto()


def test_a_generation_is_complete_when_so_many_have_finished():
    study = optuna.create_study(sampler=make("nsga-ii", population_size=4))
    late = study.ask(SPACE)
    run(study, 9)
    generations = [trial.system_attrs[KEY]["generation"] for trial in study.get_trials()]
    assert generations == [0] * 5 + [1] * 4 + [2]
    before = study.ask(SPACE).params
    write_row(late, 1, {"val_loss": -1.0, "agn": -1.0})
    study.tell(late, -1.0)
    study.tell(study.get_trials()[-1].number, state=TrialState.FAIL)
    again = optuna.create_study(sampler=make("nsga-ii", population_size=4))
    again.add_trials(study.get_trials()[:-1])
    assert again.ask(SPACE).params == before


def test_nsga_ii_equals_optunas_where_nothing_is_out_of_order():
    """The same trials in a study of two objectives: a child of the same parents, given the same seed."""
    ours = optuna.create_study(sampler=make("nsga-ii", population_size=4))
    run(ours, 20)
    theirs = optuna.create_study(directions=["minimize", "minimize"])
    for trial in ours.get_trials():
        mark = {NSGAIISampler._get_generation_key(): trial.system_attrs[KEY]["generation"]}
        theirs.add_trial(
            optuna.create_trial(
                params=trial.params,
                distributions=trial.distributions,
                values=criteria(**trial.params),
                system_attrs=mark,
            )
        )
    seed = int(ours.sampler.random_state(20).randint(2**31))
    theirs.sampler = NSGAIISampler(population_size=4, seed=seed)
    assert theirs.ask(SPACE).params == ours.ask(SPACE).params


def test_many_generations_are_no_recursion():
    study = optuna.create_study(sampler=make("nsga-ii", population_size=2))
    trials = optuna.create_study(sampler=SeededRandomSampler(search_space=SPACE))
    run(trials, 1)
    (done,) = trials.get_trials()
    run(study, 1)
    memory = study.get_trials()[0].system_attrs[KEY]
    for number in range(1, 700):
        done.system_attrs = {KEY: memory | {"trial": number, "generation": number // 2}}
        study.add_trial(done)
    assert study.ask(SPACE).params.keys() == SPACE.keys()


@pytest.mark.parametrize("survivors", [0, 1, 2])
def test_generations_that_failed_altogether(survivors):
    study = optuna.create_study(sampler=make("nsga-ii", population_size=4))
    for number in range(8):
        trial = study.ask(SPACE)
        write_row(trial, 1, {"val_loss": 1.0, "agn": 1.0})
        failed = number % 4 >= survivors
        study.tell(trial, None if failed else 1.0, TrialState.FAIL if failed else None)
    assert [trial.system_attrs[KEY]["generation"] for trial in study.get_trials()] == [0] * 4 + [1] * 4
    assert study.ask(SPACE).params.keys() == SPACE.keys()


def test_a_population_of_one_is_refused():
    with pytest.raises(ArgumentError, match=r"^population_size must be an integer of at least 2, got 1$"):
        make("nsga-ii", population_size=1)


@pytest.mark.parametrize(("name", "few", "enough"), [("mo-tpe", 9, 10), ("nsga-ii", 72, 73)])
def test_advice(name, few, enough):
    sampler = make(name)
    assert sampler.advice([[1] * few, [1] * 7]) is not None
    assert sampler.advice([[1] * enough, [1] * 7]) is None
