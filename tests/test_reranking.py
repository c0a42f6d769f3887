"""What a searcher is shown when values depend on all finished trials, and that it works on nothing else."""

import json
import math
import pickle
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState

from hpo_gn import Experiment, make_objective, search
from hpo_gn.fidelity import EPOCHS, continues
from hpo_gn.history import History, write_row
from hpo_gn.judging import choose, completed, values_of
from hpo_gn.objectives import OneDeviation, Pareto, RankSum, RelativeObjective
from hpo_gn.recipe import RECIPE, from_recipe
from hpo_gn.registry import load
from hpo_gn.reranking import Reranked, ranked_anew
from hpo_gn.space import paper_space

SPACE: dict[str, BaseDistribution] = {
    "learning_rate": FloatDistribution(1e-4, 1.0, log=True),
    "momentum": FloatDistribution(0.0, 0.99),
}
SETTINGS: dict[str, dict[str, Any]] = {
    "cma-es": {"population_size": 4},
    "particle-swarm": {"particles": 4},
    "random": {},
    "tpe": {},
    "bohb": {"min_epochs": 1, "max_epochs": 4},
}
ROUND = 4
OBJECTIVES = pytest.mark.parametrize("objective", [RankSum(), Pareto(), OneDeviation(0.5)], ids=repr)


def inner(name: str) -> optuna.samplers.BaseSampler:
    sampler: optuna.samplers.BaseSampler = load("searcher", name)(search_space=SPACE, **SETTINGS[name])
    return sampler


def new_study(sampler: optuna.samplers.BaseSampler) -> optuna.Study:
    return optuna.create_study(study_name="s", sampler=sampler)


def tell(study: optuna.Study, trial: optuna.Trial) -> None:
    """Loss and AGN want different settings; some trials fail, and some are pruned."""
    loss = (math.log10(trial.params["learning_rate"]) + 2) ** 2 + trial.params["momentum"]
    agn = 100 * trial.params["learning_rate"] + 5 * (1 - trial.params["momentum"])
    write_row(trial, 1, {"val_loss": loss, "agn": agn})
    if trial.number % 7 == 5:
        study.tell(trial, state=TrialState.FAIL)
    elif trial.number % 9 == 8:
        trial.report(loss, 1)
        study.tell(trial, state=TrialState.PRUNED)
    else:
        study.tell(trial, loss)


def run_rounds(study: optuna.Study, rounds: int) -> None:
    for _ in range(rounds):
        for trial in [study.ask(SPACE) for _ in range(ROUND)]:
            tell(study, trial)


def proposals(study: optuna.Study) -> list[str]:
    return [json.dumps([trial.params, trial.system_attrs], sort_keys=True) for trial in study.get_trials()]


class Looking(optuna.samplers.RandomSampler):
    """Remembers the trials that it is shown."""

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self.seen = study.get_trials()
        self.complete = study.get_trials(states=(TrialState.COMPLETE,))
        if self.complete:
            self.best = study.best_trial
            study._storage.set_trial_user_attr(trial._trial_id, "looked", True)


@pytest.fixture(params=["memory", "sqlite"])
def storage(request):
    if request.param == "memory":
        yield optuna.storages.InMemoryStorage()
        return
    storage = optuna.storages.RDBStorage("sqlite:///:memory:")
    yield storage
    storage.remove_session()
    storage.engine.dispose()


def add(study: optuna.Study, value: float | None, agn: float, **changes: Any) -> None:
    epochs = changes.get("epochs", 2)
    rows = {f"hpo_gn:epoch:{epoch}": {"val_loss": value, "agn": agn} for epoch in range(1, epochs + 1)}
    state = changes.get("state", TrialState.COMPLETE)
    study.add_trial(optuna.create_trial(value=value, state=state, user_attrs={**rows, EPOCHS: epochs}))


def test_the_sampler_sees_values_among_all_and_the_study_keeps_its_own(storage):
    looking = Looking()
    study = optuna.create_study(storage=storage, sampler=Reranked(looking, RankSum()))
    for value, agn in [(0.1, 9.0), (0.2, 1.0), (0.3, 5.0)]:
        add(study, value, agn)
    add(study, None, 0.0, state=TrialState.FAIL)
    trial = study.ask()
    assert [each.value for each in looking.seen] == [1 + 3, 2 + 1, 3 + 2, None, None]
    assert [each.number for each in looking.complete] == [0, 1, 2]
    assert looking.best.number == 1
    assert study.best_trial.number == 0
    assert [each.value for each in study.get_trials()] == [0.1, 0.2, 0.3, None, None]
    assert study.get_trials()[trial.number].user_attrs == {"looked": True}


def test_they_are_computed_anew_when_a_trial_has_finished(storage):
    looking = Looking()
    study = optuna.create_study(storage=storage, sampler=Reranked(looking, RankSum()))
    add(study, 0.2, 1.0)
    study.ask()
    assert looking.seen[0].value == 2
    add(study, 0.1, 0.5)
    study.ask()
    assert [looking.seen[number].value for number in (0, 2)] == [4, 2]


def test_two_studies_do_not_mix():
    """Trials in two storages have the same identifiers."""
    looking = Looking()
    sampler = Reranked(looking, RankSum())
    for values in ([0.1, 0.2], [0.2, 0.1]):
        study = new_study(sampler)
        for value in values:
            add(study, value, value)
        study.ask()
        assert [each.value for each in looking.seen[:2]] == ([2, 4] if values[0] == 0.1 else [4, 2])


def test_trials_are_compared_with_those_of_as_many_epochs():
    study = new_study(Looking())
    for value, epochs in [(0.5, 1), (0.4, 1), (0.3, 2), (0.6, 2), (0.2, 4)]:
        add(study, value, value, epochs=epochs)
    assert ranked_anew(RankSum(), study.get_trials()) == {0: 4, 1: 2, 2: 2, 3: 4, 4: 2}


def test_what_was_pruned_comes_behind_and_what_has_no_history_keeps_its_value():
    study = new_study(Looking())
    for value in (0.5, 0.4):
        add(study, value, value)
    for value in (0.02, 0.01, 0.02, math.inf):
        add(study, value, 0.0, state=TrialState.PRUNED, epochs=1)
    study.add_trial(optuna.create_trial(value=3.0))
    assert ranked_anew(RankSum(), study.get_trials()) == {0: 4, 1: 2, 2: 6, 3: 5, 4: 6}


@OBJECTIVES
@pytest.mark.parametrize("name", SETTINGS)
def test_a_searcher_stays_a_function_of_the_study(name, objective):
    """One sampler all the time and a new one at every round propose the same, as earlier values change."""
    seen = []
    for shared in (True, False):
        study = new_study(Reranked(inner(name), objective))
        for _ in range(7):
            study.sampler = study.sampler if shared else Reranked(inner(name), objective)
            run_rounds(study, 1)
        seen.append(proposals(study))
    assert seen[0] == seen[1]


@pytest.mark.parametrize("name", ["cma-es", "particle-swarm", "tpe", "bohb"])
def test_it_learns_from_the_values_among_all(name):
    """Without them, or by another objective, it proposes something else."""
    samplers = inner(name), Reranked(inner(name), RankSum()), Reranked(inner(name), OneDeviation(3.0))
    studies = [new_study(sampler) for sampler in samplers]
    for study in studies:
        run_rounds(study, 7)
    assert len({tuple(proposals(study)) for study in studies}) == 3


def test_earlier_values_do_change():
    """The tests above can fail: of two old trials, a new one turns the order round."""
    study = new_study(Looking())
    add(study, 1.0, 3.0)
    add(study, 2.0, 1.0)
    before = ranked_anew(RankSum(), study.get_trials())
    add(study, 3.0, 0.5)
    add(study, 1.2, 5.0)
    add(study, 1.8, 6.0)
    after = ranked_anew(RankSum(), study.get_trials())
    assert before[1] == before[0] == 3
    assert after[0] < after[1]


@pytest.mark.parametrize("name", SETTINGS)
def test_what_a_sampler_has_besides_optunas_methods_is_there_if_it_has_it(name):
    sampler = inner(name)
    wrapped = Reranked(sampler, RankSum())
    for method in ("next_assignment", "fits", "schedule_state", "advice", "fallbacks", "nothing"):
        assert hasattr(wrapped, method) == hasattr(sampler, method), method
    if hasattr(sampler, "advice"):
        assert wrapped.advice([[1, 1]]) == sampler.advice([[1, 1]])


def test_promotions_are_by_the_values_among_all():
    sampler = Reranked(load("searcher", "bohb")(search_space=SPACE, min_epochs=1, max_epochs=2), RankSum())
    study = new_study(sampler)
    first = [study.ask(SPACE) for _ in range(2)]
    for trial, loss, agn in zip(first, (0.1, 0.2), (9.0, 1.0), strict=True):
        write_row(trial, 1, {"val_loss": loss, "agn": agn})
        study.tell(trial, loss)
    add(study, 0.05, 5.0, epochs=1)  # makes the first one second by loss and third by AGN
    assert sampler.fits(study, 1)
    assert sampler.next_assignment(study).continues == 1
    assert sampler.sampler.next_assignment(study).continues == 0
    assert sampler.schedule_state(study) == sampler.sampler.schedule_state(study)


def test_a_copy_is_sent_without_what_is_remembered():
    study = new_study(Reranked(inner("random"), RankSum()))
    run_rounds(study, 2)
    copy = pickle.loads(pickle.dumps(study.sampler))
    assert (copy.objective, copy._known) == (RankSum(), None)
    expected = study.ask(SPACE).params
    again = new_study(copy)
    run_rounds(again, 2)
    assert again.ask(SPACE).params == expected


def test_histories_are_read_once_for_the_same_finished_trials(monkeypatch):
    study = new_study(Reranked(inner("tpe"), RankSum()))
    run_rounds(study, 3)
    read = []
    monkeypatch.setattr(History, "of", lambda trial, of=History.of: read.append(trial.number) or of(trial))
    for _ in range(ROUND):
        study.ask(SPACE)
    done = [trial.number for trial in study.get_trials() if trial.state == TrialState.COMPLETE]
    assert read == done


SEARCHES = pytest.mark.parametrize(
    ("objective", "searcher"),
    [
        (make_objective("one-deviation", deviation=0.5), "cma-es"),
        (make_objective("pareto"), "nsga-ii"),
        (make_objective("rank-sum", gated=True), "bohb"),
        (make_objective("agn-val", alpha=1e-2, normalized=True, gated=True), "bohb"),
    ],
)


@pytest.mark.slow
@SEARCHES
def test_a_search_ends_with_what_the_objective_chooses(objective, searcher, tmp_path):
    experiment = Experiment(
        "digits",
        paper_space(),
        objective,
        model="mlp",
        searcher=searcher,
        epochs=2,
        min_epochs=1,
        round_size=3,
    )
    found = search(experiment, budget=12, workers=1, seeds=1, output=tmp_path, study="s")
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path}/study.db")
    study = optuna.load_study(study_name="s", storage=storage)
    trials, recipe = study.get_trials(), study.user_attrs[RECIPE]
    storage.remove_session()
    storage.engine.dispose()
    chosen = choose(objective, trials)
    done = completed(trials)
    values = values_of(objective, [History.of(trial) for trial in done])
    assert found.trial == chosen.number
    assert found.value == min(values)
    assert found.winner.params == chosen.params
    assert from_recipe(recipe).objective == objective
    if isinstance(objective, RelativeObjective):
        assert chosen.value == History.of(chosen).last("val_loss")
    assert isinstance(experiment.sampler(), Reranked) == (
        isinstance(objective, RelativeObjective) and searcher not in ("mo-tpe", "nsga-ii")
    )
    assert not found.winner.failures


def test_nobody_is_promoted_twice_when_the_order_has_changed_since():
    """Of four, two are promoted, one before and one after other trials of as many epochs turn them round."""
    sampler = Reranked(load("searcher", "bohb")(search_space=SPACE, min_epochs=1, max_epochs=4), RankSum())
    study = new_study(sampler)
    for loss, agn in ((1.0, 3.0), (2.0, 1.0), (9.0, 9.0), (9.0, 9.0)):
        trial = study.ask(SPACE)
        write_row(trial, 1, {"val_loss": loss, "agn": agn})
        study.tell(trial, loss)
    first = continues(study.ask(SPACE))
    for value, agn in ((5.0, 1.5), (5.0, 2.0), (5.0, 2.5)):
        add(study, value, agn, epochs=1)
    values = ranked_anew(RankSum(), study.get_trials())
    assert (first, values[1] < values[0]) == (0, True)
    assert continues(study.ask(SPACE)) == 1
