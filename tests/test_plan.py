"""The plan against the search that it foresees, and what it says."""

import io
import json
from collections import Counter
from importlib.util import find_spec

import optuna
import pytest
from rich.console import Console
from torch import nn

from hpo_gn import Experiment, make_objective, search
from hpo_gn.database_url import sqlite_url
from hpo_gn.errors import ArgumentError, UnknownNameError
from hpo_gn.fidelity import ROUND, continues, epochs_of
from hpo_gn.plan import describe, plan
from hpo_gn.probe import Probe
from hpo_gn.space import paper_space
from hpo_gn.training import SupervisedTraining

PROBE = Probe(training_s=3.0, measuring_s=1.0, samples=200, full_samples=1000)
needs_hpbandster = pytest.mark.skipif(find_spec("hpbandster") is None, reason="hpbandster is not installed")


def experiment(**changes):
    settings = {
        "data": "digits",
        "model": "mlp",
        "space": paper_space(),
        "objective": make_objective("val-loss"),
        "searcher": "random",
        "epochs": 2,
        "round_size": 4,
    }
    return Experiment(**(settings | changes))


class Forgetful:
    """A training that cannot be resumed."""

    def __init__(self, config, splits, *, epochs, seed):
        settings = {name: config[name] for name in config if name != "batch_size"}
        model = nn.Sequential(nn.Flatten(), nn.Linear(64, splits.classes))
        self._training = SupervisedTraining(
            model, splits.train, batch_size=100, epochs=epochs, seed=seed, **settings
        )
        self.model = self._training.model

    def run_epoch(self):
        self._training.run_epoch()


def bohb(**changes):
    return {"searcher": "bohb", "epochs": 4, "min_epochs": 1, "round_size": 8} | changes


@pytest.mark.slow
@pytest.mark.parametrize(
    ("budget", "keywords", "changes"),
    [
        (9, {}, {}),
        (14, {}, {"searcher": "cma-es", "epochs": 3}),
        (5, {}, {"searcher": "particle-swarm", "epochs": 1}),
        (7, {}, {"searcher": "tpe", "epochs": 3, "round_size": 1}),
        (19, {"include_retraining": True}, {"gpus": 2}),
        pytest.param(19, {}, bohb(), marks=needs_hpbandster),
        pytest.param(17, {}, bohb(from_scratch=True, round_size=3), marks=needs_hpbandster),
        pytest.param(20, {}, bohb(model=None, training=Forgetful), marks=needs_hpbandster),
    ],
)
def test_foresees_the_search(tmp_path, budget, keywords, changes):
    settings = {"seeds": 1} | keywords
    made = experiment(**changes)
    probe = None if made.training is None else Probe(1.0, 1.0, 1, 1, resumable=False)
    (planned,) = plan(made, budget=budget, searchers=[made.searcher], probe=probe, **settings).searchers
    result = search(made, budget=budget, workers=1, output=tmp_path, study="s", **settings)
    storage = optuna.storages.RDBStorage(sqlite_url(tmp_path / "study.db"))
    trials = optuna.load_study(study_name="s", storage=storage).get_trials()
    storage.engine.dispose()
    # One that the budget cannot finish, since it cannot be continued after all, ends without an epoch.
    trials = [trial for trial in trials if trial.state == optuna.trial.TrialState.COMPLETE]
    assert result.trials["complete"] == planned.trials
    assert planned.configurations == sum(continues(trial) is None for trial in trials)
    assert dict(planned.rungs) == Counter(epochs_of(trial, 0) for trial in trials)
    assert planned.rounds == max(trial.user_attrs[ROUND] for trial in trials)
    assert (planned.spent, planned.spent + planned.unspent) == (result.search.spent, result.search.limit)


def test_plans_every_registered_searcher_unless_some_are_named(monkeypatch):
    monkeypatch.setattr("hpo_gn.plan.names", lambda kind: ["random", "tpe"])
    assert [each.name for each in plan(experiment(), budget=9).searchers] == ["random", "tpe"]
    assert [each.name for each in plan(experiment(), budget=9, searchers=["tpe"]).searchers] == ["tpe"]


def test_a_searcher_that_cannot_be_made_is_listed_with_the_reason(monkeypatch):
    def missing():
        raise ImportError("No module named 'hpbandster'")

    monkeypatch.setattr("hpo_gn.searchers._bohb_model._hpbandster", lambda module: missing())
    found = plan(experiment(round_size=2), budget=8, searchers=["bohb", "cma-es", "random"])
    reasons = [each.unavailable for each in found.searchers]
    assert reasons == [
        "bohb needs hpbandster: pip install 'hpo_gn[bohb]' (No module named 'hpbandster')",
        "population_size must be an integer of at least 3, got 2",
        None,
    ]
    assert [each.trials for each in found.searchers] == [0, 0, 4]
    assert f"cma-es: {reasons[1]}." in shown(found)


@pytest.mark.parametrize("changes", [{"budget": 0}, {"seeds": 0}, {"workers": 0}])
def test_numbers_below_one_are_refused(changes):
    (name,) = changes
    with pytest.raises(ArgumentError, match=f"^{name} must be 1 or more, got 0$"):
        plan(experiment(), **({"budget": 8} | changes))


def test_an_unknown_searcher_is_refused():
    with pytest.raises(UnknownNameError, match="did you mean 'random'"):
        plan(experiment(), budget=8, searchers=["randon"])


@pytest.mark.parametrize(("workers", "elapsed", "retraining"), [(1, 14, 12), (2, 8, 6), (3, 6, 4), (9, 4, 2)])
def test_time_is_that_of_the_busiest_worker_of_each_round(workers, elapsed, retraining):
    found = plan(experiment(), budget=15, searchers=["random"], probe=PROBE, workers=workers)
    (planned,) = found.searchers  # rounds of four and three trials of two epochs
    assert planned.work_s == 14 * 4.0
    assert planned.elapsed_s == elapsed * 4.0
    # The full training set is five times as large.
    assert found.retraining_work_s == 12 * 15.0
    assert found.retraining_elapsed_s == retraining * 15.0


def test_without_a_probe_there_are_no_times():
    found = plan(experiment(), budget=15, searchers=["random"])
    assert (found.retraining_work_s, found.searchers[0].work_s) == (None, None)
    assert "time" not in shown(found)


def test_measuring_that_is_charged_takes_part_of_the_budget():
    made = experiment(charge="measures")
    (probed,) = plan(made, budget=100, searchers=["random"], probe=PROBE).searchers
    # A third of an epoch, rounded up to 1/1024 as a ledger does.
    assert probed.spent == probed.trials * 2 * (1 + 342 / 1024)
    assert probed.trials == 37
    assert probed.warnings == ()
    (blind,) = plan(made, budget=100, searchers=["random"]).searchers
    assert blind.warnings == ("measuring is charged as well, which only a probe can foresee",)


def test_a_plan_as_json():
    found = plan(experiment(), budget=15, searchers=["random", "cma-es"], probe=PROBE)
    document = json.loads(found.to_json())
    assert document["budget"] == 15
    assert document["probe"]["samples"] == 200
    first = document["searchers"][0]
    assert (first["name"], first["trials"], first["rungs"], first["spent"]) == ("random", 7, [[2, 7]], 14)
    assert document["searchers"][1]["warnings"] == list(found.searchers[1].warnings)


def test_a_plan_as_text():
    found = plan(
        experiment(), budget=27, searchers=["random", "cma-es"], probe=PROBE, include_retraining=True
    )
    lines = [" ".join(line.split()) for line in shown(found).splitlines()]
    assert lines == [
        "",
        "searcher configurations trials rungs rounds spent unspent time",
        "random 7 7 2 × 7 2 14 1 0:00:56",
        "cma-es 7 7 2 × 7 2 14 1 0:00:56",
        "",
        "Budget: 27 GPU×epochs, 12 of them held back for the retraining. Rungs: epochs × trials.",
        "Retraining: 2 × 3 models of 2 epochs on the full training set, 12 GPU×epochs, about 0:03:00.",
        "Times: 1 at once, by 2 probing epochs of the initial settings: 3 s training and 1 s measuring an "
        "epoch.",
        f"cma-es: {found.searchers[1].warnings[0]}.",
    ]


def test_nothing_of_a_large_plan_is_cut_off_in_80_columns():
    slow = Probe(training_s=20.0, measuring_s=1.0, samples=200, full_samples=1000)
    found = plan(experiment(epochs=160), budget=60_000, searchers=["particle-swarm"], probe=slow)
    text = shown(found, width=80)
    assert "…" not in text
    assert "350:00:00" in text


def shown(found, width=200):
    console = Console(file=io.StringIO(), width=width)
    console.print(describe(found))
    return console.file.getvalue()
