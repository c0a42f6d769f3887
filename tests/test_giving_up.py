"""Searches that give runs up: what is saved, what is kept, and what must not happen."""

import io
import json
import warnings

import optuna
import pytest
import torch
from optuna.pruners import BasePruner
from optuna.trial import TrialState
from rich.console import Console
from torch import nn

from hpo_gn import Experiment, Ledger, make_objective, search
from hpo_gn.checkpoint import Checkpoints
from hpo_gn.database_url import sqlite_url
from hpo_gn.errors import ArgumentError, HoldClosedError, StudyError, UnknownNameError
from hpo_gn.fidelity import continues, epochs_of
from hpo_gn.history import History
from hpo_gn.pruning import GIVEN_UP, count_false_kills
from hpo_gn.recipe import from_recipe, to_recipe
from hpo_gn.report import describe
from hpo_gn.rounds import Rounds
from hpo_gn.space import paper_space
from hpo_gn.status import describe as describe_status
from hpo_gn.status import read_status
from hpo_gn.studies import default_name, open_study
from hpo_gn.trial import REASON
from hpo_gn.worker import Place, Worker

EPOCHS = 4
BUDGET = 60


@pytest.fixture(autouse=True)
def quiet():
    optuna.logging.set_verbosity(optuna.logging.WARNING)


class WhenItIsOver(BasePruner):
    """Prunes at the last epoch, as rungs of successive halving that fall on it do."""

    def __init__(self, max_resource):
        self.epochs = max_resource

    def prune(self, study, trial):
        return trial.last_step == self.epochs


class Odd(BasePruner):
    """Prunes every other trial after its first epoch."""

    def prune(self, study, trial):
        return trial.number % 2 == 1


class Forgetful:
    """A training that cannot be resumed, and learns nothing."""

    def __init__(self, config, splits, *, epochs, seed):
        torch.manual_seed(seed)
        self.model = nn.Sequential(nn.Flatten(), nn.Linear(64, splits.classes))

    def run_epoch(self):
        """Nothing."""


class Failing(BasePruner):
    def prune(self, study, trial):
        raise RuntimeError("a bug")


def convolutions(shape, classes):
    """A network without a linear layer."""
    return nn.Sequential(nn.Conv2d(shape[0], classes, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())


def experiment(**changes):
    settings = {
        "data": "digits",
        "model": "mlp",
        "space": paper_space(),
        "objective": make_objective("val-loss"),
        "searcher": "random",
        "pruner": "give-up",
        "shadows": 0.2,
        "epochs": EPOCHS,
        "round_size": 4,
    }
    return Experiment(**(settings | changes))


def without_pruner(**changes):
    return experiment(pruner=None, shadows=None, **changes)


def worked(folder, *, budget=BUDGET, interrupted=lambda: False, **changes):
    """The study of one worker, and its account."""
    place = Place(sqlite_url(folder / "study.db"), "s", Checkpoints(folder / "checkpoints"))
    study = open_study(place, experiment(**changes))
    ledger = Ledger(place.storage, place.study, limit=budget)
    Worker(experiment(**changes), place, torch.device("cpu")).run(interrupted)
    account = ledger.account()
    ledger.close()
    return study, account


def outcomes(study):
    return [
        (trial.params, trial.state, trial.value, trial.intermediate_values, trial.user_attrs.get(GIVEN_UP))
        for trial in study.get_trials()
    ]


def shown(what):
    console = Console(file=io.StringIO(), width=1000)
    console.print(what)
    return console.file.getvalue()


@pytest.fixture(scope="module")
def given_up(tmp_path_factory):
    """A search that gave runs up."""
    return worked(tmp_path_factory.mktemp("given_up"))


def test_saved_epochs_become_new_trials_within_the_budget(given_up):
    study, account = given_up
    ran = sum(len(History.of(trial)) for trial in study.get_trials())
    assert account.spent == ran <= BUDGET
    assert account.held == 0
    assert account.left < EPOCHS
    assert len(study.get_trials()) > BUDGET // EPOCHS


def test_a_run_given_up_says_when_and_why(given_up):
    study, _ = given_up
    stopped = study.get_trials(states=(TrialState.PRUNED,))
    assert stopped
    for trial in stopped:
        verdict = trial.user_attrs[GIVEN_UP]
        assert verdict["epoch"] == len(History.of(trial)) < EPOCHS
        assert not verdict["shadow"]
        assert trial.user_attrs[REASON] == f"given up at epoch {verdict['epoch']}: {verdict['reason']}"
        assert "worse than" in verdict["reason"]


def test_shadows_are_trained_to_the_end(given_up):
    study, _ = given_up
    shadows = [trial for trial in study.get_trials() if trial.user_attrs.get(GIVEN_UP, {}).get("shadow")]
    assert shadows
    assert {trial.state for trial in shadows} == {TrialState.COMPLETE}
    assert {len(History.of(trial)) for trial in shadows} == {EPOCHS}
    assert count_false_kills(study).shadows == len(shadows)


def test_what_is_given_up_is_not_the_best(given_up):
    study, _ = given_up
    kills = count_false_kills(study)
    assert kills.epochs_saved > kills.shadow_epochs > 0
    best = min(study.get_trials(states=(TrialState.COMPLETE,)), key=lambda trial: trial.value)
    assert study.best_trial.number == best.number


def test_a_search_of_shadows_alone_is_one_without_a_pruner(tmp_path):
    (tmp_path / "shadows").mkdir()
    (tmp_path / "none").mkdir()
    shadows, _ = worked(tmp_path / "shadows", shadows=1.0)
    none, _ = worked(tmp_path / "none", pruner=None, shadows=None)
    assert [each[:4] for each in outcomes(shadows)] == [each[:4] for each in outcomes(none)]
    assert any(GIVEN_UP in trial.user_attrs for trial in shadows.get_trials())
    assert not any(GIVEN_UP in trial.user_attrs for trial in none.get_trials())


def test_a_search_that_was_interrupted_gives_up_the_same_runs(tmp_path, given_up):
    finished = False
    while not finished:
        asked = iter([False] * 9)
        study, account = worked(tmp_path, interrupted=lambda asked=asked: next(asked, True))
        trials = study.get_trials(deepcopy=False)
        finished = account.left < EPOCHS and all(trial.state.is_finished() for trial in trials)
    assert outcomes(study) == outcomes(given_up[0])


@pytest.mark.slow
def test_results_do_not_depend_on_the_number_of_workers(tmp_path):
    names = ("successive-halving", "give-up")
    for pruner in names:
        found = []
        for workers in (1, 3):
            folder = tmp_path / f"{pruner}{workers}"
            search(
                experiment(pruner=pruner),
                budget=BUDGET,
                output=folder,
                study="s",
                workers=workers,
                device="cpu",
                seeds=1,
            )
            found.append(outcomes(optuna.load_study(study_name="s", storage=sqlite_url(folder / "study.db"))))
        assert found[0] == found[1]
        assert any(each[1] == TrialState.PRUNED for each in found[0])


def test_no_result_is_lost_at_the_last_epoch(tmp_path):
    study, _ = worked(tmp_path, budget=16, pruner=f"{__name__}:WhenItIsOver")
    assert {trial.state for trial in study.get_trials()} == {TrialState.COMPLETE}


def test_a_trained_trial_whose_worker_died_before_it_told_is_not_given_up(tmp_path, monkeypatch):
    """It has no checkpoint and runs again, with all its reports there."""
    told, tell = [], Rounds.tell

    def die_once(self, trial, outcome):
        told.append(trial.number)
        if len(told) == 1:
            raise HoldClosedError("died")
        tell(self, trial, outcome)

    monkeypatch.setattr(Rounds, "tell", die_once)
    study, _ = worked(tmp_path, budget=20, model=None, training=Forgetful, pruner=f"{__name__}:WhenItIsOver")
    assert told.count(told[0]) == 2
    assert [trial.state for trial in study.get_trials()] == [TrialState.COMPLETE] * 4


def test_bohb_promotes_nothing_that_was_given_up(tmp_path):
    pytest.importorskip("hpbandster", reason="the extra bohb is not installed")
    study, account = worked(
        tmp_path, searcher="bohb", min_epochs=2, shadows=0.0, budget=40, pruner=f"{__name__}:Odd"
    )
    trials = study.get_trials()
    parents = {parent for trial in trials if (parent := continues(trial)) is not None}
    assert parents
    assert {trials[parent].state for parent in parents} == {TrialState.COMPLETE}
    assert any(trial.state == TrialState.PRUNED for trial in trials)
    assert not any(trial.state == TrialState.FAIL for trial in trials)
    assert account.held == 0


def test_a_pruner_that_fails_loses_no_trial_and_says_so_once(tmp_path):
    with pytest.warns(UserWarning, match="pruner Failing: it failed with RuntimeError: a bug") as heard:
        study, _ = worked(tmp_path, budget=16, pruner=f"{__name__}:Failing")
    assert len(heard) == 1
    assert {trial.state for trial in study.get_trials()} == {TrialState.COMPLETE}


@pytest.mark.parametrize("signal", ["s-fv", "s-f"])
def test_scores_of_spectra_are_recorded_for_the_pruner(tmp_path, signal):
    study, _ = worked(tmp_path, budget=16, signal=signal)
    for trial in study.get_trials():
        assert any(name.startswith("spectrum:") for name in History.of(trial).rows[0])


def test_a_model_without_linear_layers_is_judged_by_its_values(tmp_path):
    with pytest.warns(
        UserWarning, match="GiveUpPruner looks at values instead of s-fv: trial 0 has no"
    ) as heard:
        study, _ = worked(tmp_path, model=convolutions, signal="s-fv")
    assert len(heard) == 1
    assert any(trial.state == TrialState.PRUNED for trial in study.get_trials())


@pytest.mark.parametrize(
    "pruner", ["one-epoch", "power-law", "median", "percentile", "hyperband", "wilcoxon"]
)
@pytest.mark.parametrize("searcher", ["cma-es", "particle-swarm"])
def test_every_pruner_works_with_searchers(tmp_path, pruner, searcher):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study, account = worked(tmp_path, pruner=pruner, searcher=searcher, budget=32)
    assert account.spent <= 32
    assert account.held == 0
    assert all(trial.state.is_finished() for trial in study.get_trials())
    assert study.best_value > 0


def test_rungs_of_bohb_can_be_given_up(tmp_path):
    pytest.importorskip("hpbandster", reason="the extra bohb is not installed")
    study, account = worked(tmp_path, searcher="bohb", min_epochs=2, shadows=0.0, budget=48)
    assert account.held == 0
    stopped = study.get_trials(states=(TrialState.PRUNED,))
    assert all(len(History.of(trial)) < epochs_of(trial, 0) for trial in stopped)
    assert any(epochs_of(trial, 0) == EPOCHS for trial in study.get_trials(states=(TrialState.COMPLETE,)))


def test_the_result_and_its_report_say_what_was_saved(tmp_path):
    result = search(experiment(), budget=BUDGET, output=tmp_path, study="s", workers=1, device="cpu", seeds=1)
    written = json.loads((tmp_path / "result.json").read_text())
    assert written["pruner"] == "give-up"
    kills = written["false_kills"]
    assert kills["given_up"] == result.trials["pruned"] > 0
    assert kills["sentence"] == str(result.false_kills)
    said = shown(describe(result))
    assert f"Give-up: give-up {result.false_kills}." in said
    status = read_status(sqlite_url(tmp_path / "study.db"))
    assert status.search.false_kills == result.false_kills
    assert f"Give-up: {result.false_kills}." in shown(describe_status(status))
    assert json.loads(status.to_json())["search"]["false_kills"]["given_up"] == kills["given_up"]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"pruner": "giveup"}, UnknownNameError, "no pruner is called 'giveup'; did you mean 'give-up'?"),
        (
            {"pruner": "hpo_gn.objectives:ValLoss"},
            ArgumentError,
            "pruner must be a class of Optuna pruners, got 'hpo_gn.objectives:ValLoss'",
        ),
        ({"signal": "sfv"}, UnknownNameError, "no signal is called 'sfv'; did you mean 's-fv'?"),
        ({"false_kills": 1.5}, ArgumentError, "false_kills must be between 0 and 1, got 1.5"),
        (
            {"pruner": "median", "signal": "s-fv"},
            ArgumentError,
            "signal must be left out, since pruner 'median' does not take it, got 's-fv'",
        ),
        (
            {"pruner": "median", "false_kills": 0.1},
            ArgumentError,
            "false_kills must be left out, since pruner 'median' does not take it, got 0.1",
        ),
    ],
)
def test_a_wrong_pruner_is_one_line_before_anything_is_written(tmp_path, changes, error, message):
    with pytest.raises(error) as raised:
        search(experiment(**changes), budget=BUDGET, output=tmp_path / "run", study="s", device="cpu")
    assert str(raised.value) == message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shadows": 1.5}, "shadows must be from 0 to 1, got 1.5"),
        ({"pruner": None}, "shadows must be left out, unless there is a pruner, got 0.2"),
        (
            {"pruner": None, "shadows": None, "signal": "s-fv"},
            "signal must be left out, unless there is a pruner, got 's-fv'",
        ),
        (
            {"pruner": None, "shadows": None, "false_kills": 0.1},
            "false_kills must be left out, unless there is a pruner, got 0.1",
        ),
    ],
)
def test_settings_without_a_meaning_are_refused(changes, message):
    with pytest.raises(ArgumentError) as raised:
        experiment(**changes)
    assert str(raised.value) == message


def test_a_search_is_not_continued_with_another_pruner(tmp_path):
    place = Place(sqlite_url(tmp_path / "study.db"), "s", Checkpoints(tmp_path / "checkpoints"))
    open_study(place, without_pruner())
    with pytest.raises(StudyError, match=r"was made with pruner None, not 'give-up'; choose another name"):
        open_study(place, experiment())


def test_a_worker_that_joins_gives_up_alike():
    of = experiment(signal="s-fv", false_kills=0.2, shadows=0.3)
    assert from_recipe(to_recipe(of)).identity() == of.identity()


def test_searches_with_and_without_a_pruner_have_different_names():
    assert default_name(experiment()) == "digits-mlp-valloss-random-give-up"
    assert default_name(without_pruner()) == "digits-mlp-valloss-random"
