"""What a crew on Ray makes of a cluster that does not do its part. With real nodes: test_ray_nodes.py."""

from itertools import repeat
from types import SimpleNamespace

import optuna
import pytest
import torch

from hpo_gn import Experiment, Ledger, make_objective
from hpo_gn.checkpoint import Checkpoints
from hpo_gn.database_url import sqlite_url
from hpo_gn.errors import ArgumentError, HpoGnError
from hpo_gn.owner import new_owner
from hpo_gn.ray_crew import _check_storage, _RayCrew, run_on_ray
from hpo_gn.space import paper_space
from hpo_gn.studies import open_study
from hpo_gn.worker import Place, Worker


@pytest.fixture
def crew(tmp_path):
    """A worker and its ledger."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space, objective = paper_space(), make_objective("val-loss")
    experiment = Experiment(
        data="digits",
        model="mlp",
        space=space,
        objective=objective,
        searcher="random",
        epochs=1,
        round_size=4,
    )
    place = Place(sqlite_url(tmp_path / "study.db"), "s", Checkpoints(tmp_path / "checkpoints"))
    open_study(place, experiment)
    worker = Worker(experiment, place, torch.device("cpu"))
    return worker, Ledger(place.storage, place.study, limit=8)


class FakeRay:
    """A cluster whose every task ends the same way, and whose nodes are as a list says, one entry a look."""

    class RayError(Exception):
        pass

    class RayTaskError(RayError):
        cause = ImportError("No module named 'own'")

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def __init__(self, error, nodes):
        self.error, self.looks, self.submitted = error, iter(nodes), 0

    def put(self, value):
        return value

    def remote(self, **options):
        return lambda function: SimpleNamespace(remote=self.submit)

    def submit(self, *arguments):
        self.submitted += 1
        return self.submitted

    def nodes(self):
        return [{"Alive": True, "Resources": next(self.looks)}]

    def wait(self, references, **options):
        return references, []

    def get(self, reference):
        raise self.error

    def cancel(self, reference, force=False):
        pass


@pytest.mark.parametrize(
    ("error", "nodes", "submitted", "message"),
    [
        (
            FakeRay.RayError("the node\nis dead"),
            repeat({"CPU": 1}),
            16,
            "dying before they run a trial: the node$",
        ),
        (
            FakeRay.RayTaskError(),
            repeat({"CPU": 1}),
            4,
            "^a task of the Ray cluster failed: No module named 'own'$",
        ),
        (
            FakeRay.RayError(),
            [{"CPU": 1}] * 2 + [{"CPU": 0.5}],
            4,
            "^no node of the Ray cluster has the 1 CPUs",
        ),
    ],
    ids=["tasks die before they claim", "task cannot run", "last node leaves"],
)
def test_a_cluster_that_runs_nothing_ends_the_search(crew, monkeypatch, error, nodes, submitted, message):
    monkeypatch.setattr("hpo_gn.ray_crew._PATIENCE_S", 0.0)
    ray, (worker, ledger) = FakeRay(error, nodes), crew
    with pytest.raises(HpoGnError, match=message):
        _RayCrew(ray, worker, ledger, 0.0).run(lambda: None, lambda: 0)
    assert ray.submitted == submitted
    assert ledger.account().held == 0


@pytest.mark.parametrize("share", [-0.5, -1, 0.00001, 1.5, float("nan"), float("inf")])
def test_a_share_that_no_gpu_has_is_refused(crew, share):
    message = f"^gpus_per_trial must be a share from 0.0001 to 1, or a whole number, got {share}$"
    with pytest.raises(ArgumentError, match=message):
        run_on_ray(*crew, lambda: None, address="auto", gpus_per_trial=share)


def test_sqlite_is_refused_beyond_the_driver_s_machine():
    _check_storage("sqlite:///study.db", new_owner())
    _check_storage("postgresql://user@server/studies", "elsewhere:1:token")
    with pytest.raises(HpoGnError, match=r"^a Ray cluster of several machines needs a PostgreSQL storage"):
        _check_storage("sqlite:///study.db", "elsewhere:1:token")
