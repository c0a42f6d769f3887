"""A worker joins a study from its storage alone."""

import optuna
import pytest
import torch

from hpo_gn import Experiment, Ledger, make_objective
from hpo_gn.checkpoint import Checkpoints
from hpo_gn.database_url import sqlite_url
from hpo_gn.errors import DataError
from hpo_gn.space import paper_space
from hpo_gn.studies import open_study
from hpo_gn.worker import Place, Worker


@pytest.fixture
def place(tmp_path):
    return Place(sqlite_url(tmp_path / "study.db"), "s", Checkpoints(tmp_path / "checkpoints"))


def experiment(**changes):
    settings = {"searcher": "random", "epochs": 1, "round_size": 2, "seed": 0} | changes
    objective = make_objective("val-loss")
    return Experiment(data="digits", model="mlp", space=paper_space(), objective=objective, **settings)


def fingerprint(of):
    return of.splits("search", torch.device("cpu")).fingerprint


def account(place, limit=None):
    return Ledger(place.storage, place.study, limit=limit).account()


def test_a_worker_works_until_the_budget_is_spent(place):
    study = open_study(place, experiment(), fingerprint(experiment()))
    account(place, limit=4)
    Worker(experiment(), place, torch.device("cpu")).run()
    assert [trial.state.name for trial in study.get_trials()] == ["COMPLETE"] * 4
    assert (account(place).spent, account(place).held) == (4, 0)


def test_a_worker_that_is_interrupted_leaves_the_rest(place):
    study = open_study(place, experiment())
    account(place, limit=4)
    Worker(experiment(), place, torch.device("cpu")).run(lambda: len(study.get_trials()) > 0)
    assert account(place).spent < 4
    assert account(place).held == 0


def test_a_worker_with_other_data_is_refused(place):
    """The reduced subset follows from the seed: another seed is other data."""
    open_study(place, experiment(), fingerprint(experiment()))
    account(place, limit=4)
    with pytest.raises(
        DataError, match=r"^this worker's data are not those of study 's': fingerprint \w{12} is not"
    ):
        Worker(experiment(seed=1), place, torch.device("cpu")).run()
    assert account(place).spent == 0


@pytest.fixture(autouse=True)
def quiet():
    optuna.logging.set_verbosity(optuna.logging.WARNING)
