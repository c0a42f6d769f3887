"""Trials on a real Ray cluster of two nodes, one of which is killed."""

import os
import signal
import sqlite3
import sys
import textwrap
import threading
import time
from contextlib import closing
from pathlib import Path

import optuna
import pytest
import torch

from hpo_gn import Experiment, History, Ledger, make_objective
from hpo_gn.checkpoint import Checkpoints
from hpo_gn.database_url import sqlite_url
from hpo_gn.errors import HpoGnError
from hpo_gn.ray_cluster import import_ray
from hpo_gn.ray_crew import run_on_ray
from hpo_gn.space import load_space
from hpo_gn.studies import open_study
from hpo_gn.trial import REASON
from hpo_gn.worker import Place, Worker

pytestmark = pytest.mark.slow

TRAINING = '''
import os, time, torch
from pathlib import Path
from torch import nn

HERE = Path(__file__).parent


class Slow:
    """Writes down every epoch it begins: process, trial's seed, epoch. A file `deadly` kills its process; a
    file `hold` names an epoch that does not end while the file is there."""

    def __init__(self, config, splits, *, epochs, seed):
        self.seed, self.epoch, self.rate = seed, 0, config["rate"]
        torch.manual_seed(seed)
        self.model = nn.Sequential(nn.Flatten(), nn.Linear(64, splits.classes))

    def run_epoch(self):
        self.epoch += 1
        with (HERE / "log").open("a") as file:
            file.write(f"{os.getpid()} {self.seed} {self.epoch}\\n")
        if (HERE / "deadly").exists():
            os._exit(1)
        hold = HERE / "hold"
        while hold.exists() and hold.read_text() == str(self.epoch):
            time.sleep(0.05)
        with torch.no_grad():
            for parameter in self.model.parameters():
                parameter += self.rate * self.epoch

    def state_dict(self):
        return {"model": self.model.state_dict(), "epoch": self.epoch}

    def load_state_dict(self, state):
        self.model.load_state_dict(state["model"])
        self.epoch = state["epoch"]
'''

SPACE = """
hyperparameters:
  - {type: uniform_float, name: rate, lower: 0.001, upper: 1.0, default_value: 0.01, log: true}
"""

TRIALS, EPOCHS, SPARE = 8, 4, 3


class Search:
    """A study in the folder that tests run in."""

    def __init__(self, folder, name, *, hold=None, limit=TRIALS * EPOCHS + SPARE):
        (folder / "space.yaml").write_text(textwrap.dedent(SPACE))
        (folder / "slow_training.py").write_text(TRAINING)
        if hold is not None:
            (folder / "hold").write_text(str(hold))
        self.folder = folder
        experiment = Experiment(
            data="digits",
            training="slow_training:Slow",
            space=load_space(folder / "space.yaml"),
            objective=make_objective("val-loss"),
            searcher="random",
            epochs=EPOCHS,
            round_size=4,
        )
        place = Place(sqlite_url(folder / "study.db"), name, Checkpoints(folder / "checkpoints" / name))
        self.worker = Worker(experiment, place, torch.device("cpu"))
        self.study = open_study(place, experiment)
        self.ledger = Ledger(place.storage, name, limit=limit)

    def run(self, address, tick=lambda: None, gpus_per_trial=0.0):
        end = time.monotonic() + 300

        def watched():
            tick()
            if time.monotonic() > end:
                raise TimeoutError

        run_on_ray(self.worker, self.ledger, watched, address=address, gpus_per_trial=gpus_per_trial)

    def deaths(self):
        """Why holds were settled, but for those that finished."""
        with closing(sqlite3.connect(self.folder / "study.db")) as connection:
            rows = connection.execute("SELECT reason FROM hpo_gn_holds WHERE reason != 'finished'")
            return [reason for (reason,) in rows]

    def epochs_run(self):
        log = self.folder / "log"
        lines = log.read_text().splitlines() if log.exists() else []
        return [tuple(map(int, line.split())) for line in lines if line.count(" ") == 2]

    def results(self):
        return [
            (trial.number, trial.params, trial.value, History.of(trial))
            for trial in self.study.get_trials()
            if trial.state.name == "COMPLETE"
        ]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to work in, whose modules this process imports anew."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("slow_training", None)


@pytest.fixture(scope="module", autouse=True)
def quiet():
    optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What the search gives in one process."""
    folder = tmp_path_factory.mktemp("alone")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        search = Search(folder, "alone")
        search.worker.run()
    del sys.modules["slow_training"]
    return search.results()


NODE = {"num_cpus": 1, "num_gpus": 0, "object_store_memory": 100 * 2**20}
QUICK = {
    "health_check_initial_delay_ms": 500,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 2,
}


@pytest.fixture(scope="module")
def cluster():
    """A cluster of one node with one CPU."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import_ray()
    from ray.cluster_utils import Cluster

    before = signal.getsignal(signal.SIGTERM)
    head = NODE | {"include_dashboard": False, "_system_config": QUICK}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    yield cluster
    cluster.shutdown()
    signal.signal(signal.SIGTERM, before)


def test_a_search_outlives_one_of_two_nodes(folder, cluster, alone, capfd):
    """It ends with the trials and values of one process, and nothing is printed beside the result."""
    second = cluster.add_node(**NODE)
    search = Search(folder, "on Ray", hold=2)
    remove = once(
        lambda: len(search.epochs_run()) == 4, lambda: cluster.remove_node(second, allow_graceful=False)
    )
    victims = []

    def let_the_survivor_go():
        victims.extend({seed for process, seed, _ in search.epochs_run() if not is_alive(process)})
        (folder / "hold").unlink()

    def somebody_died():
        return not all(is_alive(process) for process, _, _ in search.epochs_run())

    go_on = once(somebody_died, let_the_survivor_go)
    search.run(cluster.address, lambda: (remove(), go_on()))
    [victim] = victims
    assert [epoch for _, seed, epoch in search.epochs_run() if seed == victim] == [1, 2, 2, 3, 4]
    assert search.results() == alone
    assert len(search.results()) == TRIALS
    account = search.ledger.account()
    assert account.held == 0
    assert search.deaths() == ["its worker died"]  # settled at once, not when its lease lapsed
    # The epoch that the node was in was charged, and run again by the other.
    assert account.spent == len(search.epochs_run()) == TRIALS * EPOCHS + 1
    assert capfd.readouterr() == ("", "")


def test_ctrl_c_lets_the_epoch_finish_and_repeating_goes_on(folder, cluster, alone):
    search = Search(folder, "on Ray", hold=2)

    def interrupt_and_let_go():
        interrupt()
        threading.Timer(3, (folder / "hold").unlink).start()

    with pytest.raises(KeyboardInterrupt):
        search.run(cluster.address, once(lambda: len(search.epochs_run()) == 2, interrupt_and_let_go))
    account = search.ledger.account()
    assert account.held == 0
    assert account.spent == len(search.epochs_run()) == 2
    assert search.deaths() == ["TrialInterruptedError"]
    search.worker.run()  # a worker of any kind goes on
    assert search.results() == alone
    assert search.ledger.account().spent == len(search.epochs_run()) == TRIALS * EPOCHS  # no epoch twice


def test_a_second_ctrl_c_stops_at_once(folder, cluster):
    search = Search(folder, "on Ray", hold=1)
    with pytest.raises(KeyboardInterrupt):
        search.run(cluster.address, once(search.epochs_run, interrupt_twice))
    account = search.ledger.account()
    assert (account.held, account.spent) == (0, 1)
    assert not any(History.of(trial).rows for trial in search.study.get_trials())


def test_a_trial_that_kills_its_process_is_given_up(folder, cluster, monkeypatch):
    monkeypatch.setattr("hpo_gn.rounds._MOST_DEATHS", 2)  # a process takes seconds to start
    search = Search(folder, "on Ray", limit=EPOCHS + 1)
    (folder / "deadly").touch()
    search.run(cluster.address)
    [trial] = search.study.get_trials()
    assert (trial.state.name, trial.user_attrs[REASON]) == ("FAIL", "2 workers died of it")
    assert (search.ledger.account().held, search.ledger.account().spent) == (0, 2)


def test_a_node_that_sees_other_checkpoints_ends_the_search_in_one_line(folder, cluster, monkeypatch):
    search = Search(folder, "on Ray")
    monkeypatch.setattr(Checkpoints, "claim", lambda self, token: None)  # as if marked on another machine
    with pytest.raises(
        HpoGnError, match=r"^the checkpoints at .* are not those of this study: .* \(on .+\)$"
    ):
        search.run(cluster.address)
    assert search.ledger.account().held == search.ledger.account().spent == 0


def test_a_trial_that_fits_on_no_node_is_refused(folder, cluster):
    message = "^no node of the Ray cluster has the 1 CPUs and 0.25 GPUs that a trial needs$"
    with pytest.raises(HpoGnError, match=message):
        Search(folder, "on Ray").run(cluster.address, gpus_per_trial=0.25)


def once(condition, action):
    """A tick that acts the first time that a condition holds."""
    done = []

    def tick():
        if not done and condition():
            done.append(True)
            action()

    return tick


def is_alive(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def interrupt_twice():
    interrupt()
    threading.Timer(1, interrupt).start()
