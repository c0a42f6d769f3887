"""Workers that join a search from its storage alone: real processes, leaving and coming back."""

import contextlib
import os
import shutil
import signal
import sqlite3

import optuna
import pytest
import torch

from hpo_gn import Experiment, make_objective, search
from hpo_gn.checkpoint import Checkpoints
from hpo_gn.database_url import sqlite_url
from hpo_gn.errors import ArgumentError, CheckpointError, StorageError, StudyError, UnknownNameError
from hpo_gn.joining import PROTOCOL, announce, find_study, join
from hpo_gn.models.mlp import mlp
from hpo_gn.protocol import SearchProtocol
from hpo_gn.retraining import ROLE, WINNER_ALONE
from hpo_gn.space import paper_space
from hpo_gn.worker import Place
from tests.slow_search import SlowSearch


def experiment(**changes):
    settings = {"searcher": "random", "epochs": 1, "round_size": 2, "data": "digits", "model": "mlp"}
    objective = make_objective("val-loss")
    return Experiment(space=paper_space(), objective=objective, **(settings | changes))


def values(trials):
    return [trial.value for trial in trials]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    alone = SlowSearch(tmp_path_factory.mktemp("whole") / "x")
    process = alone.start()
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    return alone


@pytest.mark.slow
def test_workers_finish_what_a_killed_search_began(tmp_path, uninterrupted):
    """Both stages: the retraining is prepared by whoever is there."""
    begun = SlowSearch(tmp_path / "x")
    leader = begun.start("--workers", "1")
    begun.wait_for(lambda run: len(run) >= 2)
    leader.kill()
    leader.communicate()
    workers = [begun.join(), begun.join()]
    for worker in workers:
        stdout, stderr = worker.communicate(timeout=300)
        assert worker.returncode == 0, stderr
        assert stdout == "s is done; the command that began it shows the result.\n"
    done = [value for value in values(begun.trials()) if value is not None]
    assert done == values(uninterrupted.trials())[: len(done)]
    assert len(done) >= 7  # the killed leader's epoch was charged twice, so one trial may not fit
    assert begun.account().held == 0
    assert len({process for process, *_ in begun.epochs_run()}) == 3
    before = len(begun.epochs_run())
    leader = begun.start()
    stdout, stderr = leader.communicate(timeout=60)
    assert leader.returncode == 0, stderr
    assert "Retraining: 4 epochs" in stdout
    assert len(begun.epochs_run()) == before, "the result is read, nothing is run again"


@pytest.mark.slow
def test_a_worker_leaves_and_comes_back(tmp_path, uninterrupted):
    begun = SlowSearch(tmp_path / "x")
    leader = begun.start("--workers", "1")
    begun.wait_for(lambda run: len(run) >= 1)
    guest = begun.join()
    begun.wait_for(lambda run: len({process for process, *_ in run}) == 2)
    os.kill(guest.pid, signal.SIGTERM)
    stdout, stderr = guest.communicate(timeout=60)
    assert (guest.returncode, stdout) == (130, "")
    assert stderr.endswith("hpo-gn: stopped; nothing is held. Repeat the command to go on.\n")
    again = begun.join()
    _, stderr = again.communicate(timeout=300)
    assert again.returncode == 0, stderr
    _, stderr = leader.communicate(timeout=300)
    assert leader.returncode == 0, stderr
    assert values(begun.trials()) == values(uninterrupted.trials())
    assert (begun.account().spent, begun.account().held) == (32, 0)


@pytest.mark.slow
def test_a_worker_waits_for_the_search_to_begin(tmp_path, uninterrupted):
    begun = SlowSearch(tmp_path / "x")
    (begun.folder / "out").mkdir()
    guest = begun.join("--wait", "60")
    leader = begun.start("--workers", "1")
    for process in (guest, leader):
        _, stderr = process.communicate(timeout=300)
        assert process.returncode == 0, stderr
    assert values(begun.trials()) == values(uninterrupted.trials())


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    search(experiment(), budget=4, output=folder, study="s", seeds=1, workers=1)
    return sqlite_url(folder / "study.db")


def test_joining_what_is_over_ends_at_once(finished):
    before = len(find_study(finished).get_trials())
    assert join(finished, workers=1) == "s"
    assert len(find_study(finished).get_trials()) == before


@pytest.fixture
def announced(tmp_path):
    """A function: experiment → URL of the database where its search is announced, with 2 epochs to spend."""

    def announce_it(of, **protocol):
        url = sqlite_url(tmp_path / "study.db")
        place = Place(url, "s", Checkpoints(tmp_path / "checkpoints"))
        fingerprint = of.splits("search", torch.device("cpu")).fingerprint
        announce(SearchProtocol(of, place, 1, include_retraining=False, **protocol), fingerprint, limit=2)
        return url

    return announce_it


def test_a_search_of_python_objects_is_joined_with_them(announced):
    of_objects = experiment(model=mlp)
    url = announced(of_objects)
    with pytest.raises(StudyError, match=r"made of Python objects: join it by hpo_gn.join\(experiment=…\)"):
        join(url, workers=1)
    join(url, workers=1, experiment=of_objects)
    assert [trial.state.name for trial in find_study(url).get_trials()] == ["COMPLETE"] * 2


def retrained(url):
    """The roles of all retrainings."""
    studies = optuna.get_all_study_names(url)
    (name,) = (each for each in studies if "retraining" in each)
    return [trial.user_attrs[ROLE] for trial in optuna.load_study(study_name=name, storage=url).trials]


def test_workers_retrain_whom_the_announcement_says(announced):
    url = announced(experiment(), roles=WINNER_ALONE)
    join(url, workers=1)
    assert retrained(url) == ["winner"]


def test_an_announcement_of_an_older_version_means_winner_and_initial_settings(announced):
    url = announced(experiment())
    study = find_study(url)
    about = study.user_attrs[PROTOCOL]
    study.set_user_attr(PROTOCOL, {key: about[key] for key in about if key != "roles"})
    join(url, workers=1)
    assert retrained(url) == ["winner", "initial"]


def test_a_worker_that_cannot_see_the_checkpoints_does_not_begin_trials_anew(announced, tmp_path):
    url = announced(experiment())
    with pytest.raises(CheckpointError, match="give --checkpoints a place that all workers reach"):
        join(url, workers=1, checkpoints=str(tmp_path / "elsewhere"))
    assert not find_study(url).get_trials()


class TestFinding:
    def test_the_only_search_needs_no_name(self, finished):
        assert find_study(finished).study_name == "s"

    def test_a_name_is_looked_for(self, finished):
        assert find_study(finished, "s").study_name == "s"
        with pytest.raises(UnknownNameError, match="no search is called 'S'; known: s"):
            find_study(finished, "S")

    def test_retrainings_are_not_searches(self, finished):
        name = next(
            each.study_name
            for each in find_study(finished)._storage.get_all_studies()
            if "retraining" in each.study_name
        )
        with pytest.raises(StudyError, match="was not made by a search"):
            find_study(finished, name)

    def test_several_need_a_name(self, finished, tmp_path):
        shutil.copy(finished.removeprefix("sqlite:///"), tmp_path / "study.db")
        url = sqlite_url(tmp_path / "study.db")
        optuna.create_study(study_name="another", storage=url).set_user_attr("hpo_gn:protocol", {})
        with pytest.raises(StudyError, match="holds several searches; name one: another, s"):
            find_study(url)

    def test_a_database_that_is_not_there_is_not_made(self, tmp_path):
        with pytest.raises(StorageError, match=r"^there is no database sqlite:///"):
            find_study(sqlite_url(tmp_path / "study.db"))
        assert not list(tmp_path.iterdir())

    def test_a_database_of_something_else_is_left_alone(self, tmp_path):
        with contextlib.closing(sqlite3.connect(tmp_path / "study.db")) as connection:
            connection.execute("CREATE TABLE other (x)")
        before = (tmp_path / "study.db").read_bytes()
        with pytest.raises(StorageError, match=r"holds no study$"):
            find_study(sqlite_url(tmp_path / "study.db"))
        assert (tmp_path / "study.db").read_bytes() == before

    def test_a_database_without_a_search(self, tmp_path):
        url = sqlite_url(tmp_path / "study.db")
        optuna.create_study(study_name="mine", storage=url)
        with pytest.raises(StorageError, match=r"holds no search$"):
            find_study(url)


@pytest.fixture(autouse=True)
def quiet():
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def test_a_worker_without_the_model_leaves_before_it_can_fail_a_trial(announced):
    url = announced(experiment(model="nowhere:build"))
    with pytest.raises(ArgumentError, match="no module 'nowhere'"):
        join(url, workers=1)
    assert not find_study(url).get_trials()


def test_the_folder_of_somebodys_files_is_refused_and_left_alone(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "mine.pt").write_text("mine")
    with pytest.raises(CheckpointError, match="would be among somebody's files: give --checkpoints an empty"):
        search(experiment(), budget=4, output=tmp_path, study="s", seeds=1, workers=1)
    assert (tmp_path / "checkpoints" / "mine.pt").read_text() == "mine"


def test_a_search_goes_on_though_its_checkpoints_were_removed(announced, tmp_path):
    url = announced(experiment())
    shutil.rmtree(tmp_path / "checkpoints")
    assert announced(experiment()) == url
    join(url, workers=1)
    assert [trial.state.name for trial in find_study(url).get_trials()] == ["COMPLETE"] * 2


def test_a_budget_that_paid_for_a_retraining_stays(tmp_path):
    """With another, another winner's retraining would be paid from it as well."""
    options = {"output": tmp_path, "study": "s", "seeds": 1, "workers": 1, "include_retraining": True}
    result = search(experiment(), budget=6, **options)
    assert result.search.spent + result.retraining.spent == 6
    with pytest.raises(ArgumentError, match="budget must be the 6 that paid for a retraining already, got 8"):
        search(experiment(), budget=8, **options)
    assert search(experiment(), budget=6, **options).to_dict() == result.to_dict()
