"""A replay of a search's own recording does what the search did."""

from functools import partial

import optuna
import pytest
from optuna.pruners import BasePruner
from optuna.trial import TrialState

from hpo_gn import Experiment, Ledger, make_objective, search
from hpo_gn.database_url import sqlite_url
from hpo_gn.fidelity import continues
from hpo_gn.history import History
from hpo_gn.judging import choose
from hpo_gn.pruning import GIVEN_UP
from hpo_gn.recorded import record, replay
from hpo_gn.recorded.replayed import RECORDED_RUN
from hpo_gn.searchers.random import SeededRandomSampler
from hpo_gn.space import paper_space

EPOCHS = 2
BUDGET = 6 * EPOCHS + 1
PRUNED = {"searcher": "random", "pruner": f"{__name__}:Odd", "shadows": 0.5}
RUNGS = {"searcher": "bohb", "min_epochs": 1}

digits = partial(
    Experiment,
    "digits",
    paper_space(),
    make_objective("agn-val"),
    model="mlp",
    epochs=EPOCHS,
    round_size=3,
    fraction=0.1,
)

PROPOSED = []


class Listed(SeededRandomSampler):
    """Proposes what another search proposed, in its order."""

    def propose(self, study, trial, cube):
        return PROPOSED[trial.number] if trial.number < len(PROPOSED) else super().propose(study, trial, cube)


class Odd(BasePruner):
    """Gives up every other trial after its first epoch."""

    def prune(self, study, trial):
        return trial.number % 2 == 1


def run(experiment, folder, budget):
    """A real search's study, what it spent, and its seconds."""
    folder.mkdir()
    url = sqlite_url(folder / "study.db")
    search(experiment, budget=budget, workers=1, device="cpu", seeds=1, storage=url, study="s", output=folder)
    ledger = Ledger.open_existing(url, "s")
    account, seconds = ledger.account(), ledger.seconds()
    ledger.close()
    return optuna.load_study(study_name="s", storage=url), account.spent, seconds


def recorded(folder):
    return record(sqlite_url(folder / "study.db"), "s", folder / "s.jsonl.gz", command="hpo-gn search")


def facts(study):
    """What a search says of its trials, numbers to the digits of a recorded table."""
    return [
        (
            trial.state,
            trial.params,
            trial.value and pytest.approx(trial.value, rel=1e-6),
            {step: pytest.approx(value, rel=1e-6) for step, value in trial.intermediate_values.items()},
            [{name: pytest.approx(value, rel=1e-6) for name, value in row.items()} for row in rows_of(trial)],
            {name: trial.user_attrs.get(f"hpo_gn:{name}") for name in ("epochs", "round", "continues")},
            trial.user_attrs.get(GIVEN_UP),
        )
        for trial in study.get_trials(deepcopy=False)
    ]


def rows_of(trial):
    return History.of(trial).rows


@pytest.mark.slow
@pytest.mark.parametrize("searcher", ["random", "cma-es"])
def test_a_replay_of_a_search_is_that_search(tmp_path, searcher):
    experiment = digits(searcher=searcher)
    study, spent, (training_s, _) = run(experiment, tmp_path / "a", budget=BUDGET)
    replayed = replay(experiment, recorded(tmp_path / "a"), budget=BUDGET)
    assert facts(replayed.study) == facts(study)
    trials = replayed.study.get_trials(deepcopy=False)
    assert [trial.user_attrs[RECORDED_RUN] for trial in trials] == list(range(6))
    assert replayed.chosen.number == choose(experiment.objective, study.get_trials()).number
    assert (replayed.spent, replayed.training_s) == (spent, pytest.approx(training_s, rel=1e-2))
    assert (
        replayed.study.user_attrs.items()
        >= {
            name: study.user_attrs[name]
            for name in ("hpo_gn:experiment", "hpo_gn:fingerprint", "hpo_gn:rounds")
        }.items()
    )


@pytest.mark.slow
@pytest.mark.parametrize("settings", [PRUNED, RUNGS], ids=["pruner", "rungs"])
def test_what_ends_early_is_replayed_on_runs_trained_to_the_end(tmp_path, settings):
    study, spent, _ = run(digits(**settings), tmp_path / "early", BUDGET)
    trials = study.get_trials(deepcopy=False)
    PROPOSED[:] = [trial.params for trial in trials]
    run(digits(searcher=f"{__name__}:Listed"), tmp_path / "whole", len(trials) * EPOCHS)
    replayed = replay(digits(**settings), recorded(tmp_path / "whole"), budget=BUDGET)
    assert facts(replayed.study) == facts(study)
    assert replayed.spent == spent
    roots = []
    for trial in trials:
        roots.append(trial.number if (parent := continues(trial)) is None else roots[parent])
    again = replayed.study.get_trials(deepcopy=False)
    assert [trial.user_attrs[RECORDED_RUN] for trial in again] == roots
    assert len(set(roots)) < len(roots) or TrialState.PRUNED in [trial.state for trial in again]
