"""A password in a URL is shown and kept nowhere, and a study's name is no path.

Whatever is printed, logged, warned of, written into a file or into the database is searched for the password,
and so are representations and tracebacks.
"""

import gc
import io
import logging
import re
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import quote

import fsspec
import pytest
import sqlalchemy
import torch
from fsspec.implementations.memory import MemoryFileSystem
from sqlalchemy.pool import NullPool
from typer.testing import CliRunner

from hpo_gn import Experiment, Ledger, make_objective, search
from hpo_gn.checkpoint import Checkpoints
from hpo_gn.cli import app
from hpo_gn.database_url import parse_database_url
from hpo_gn.errors import HpoGnError
from hpo_gn.file_store import as_component
from hpo_gn.joining import join
from hpo_gn.protocol import SearchProtocol
from hpo_gn.space import paper_space
from hpo_gn.worker import Place, Worker
from tests.chaos.databases import running_postgresql
from tests.chaos.specs import RightError, no_trials

SECRET = "s3cr:t/@%x"
"""A password that must be escaped in a URL."""
QUOTED = quote(SECRET, safe="")
FORMS = (SECRET, QUOTED, QUOTED.lower(), "s3cr")
SMALL = ("--budget", "2", "--epochs", "1", "--round-size", "2", "--searcher", "random", "--seeds", "1")
ONE = ("--workers", "1", "--device", "cpu")


def find_secret(text: str | bytes) -> list[str]:
    """The forms of the password that a text holds."""
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    return [form for form in FORMS if form.encode() in data]


class Kept(MemoryFileSystem):
    """A file system whose URLs have users and passwords, as those of sftp have."""

    protocol = "kept"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return super()._strip_protocol(re.sub("^kept://[^/]*", "", path))


@pytest.fixture(autouse=True)
def kept() -> Iterator[None]:
    fsspec.register_implementation("kept", Kept, clobber=True)
    yield
    with warnings.catch_warnings():
        # Optuna closes its connections when it is collected.
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """URL of an empty database that takes any password."""
    with running_postgresql() as running:
        yield running.new_url()


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """Everything that is logged, by whatever library."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


def with_user(url: str) -> str:
    return url.replace("postgres:@", f"postgres:{QUOTED}@")


def with_options(url: str) -> str:
    return f"{url}&password={QUOTED}&sslpassword={QUOTED}"


PLACES: dict[str, Callable[[str], str]] = {
    "the user's": with_user,
    "options": with_options,
    "both": lambda url: with_options(with_user(url)).replace("postgresql:", "postgresql+psycopg:"),
}


def contents_of(url: str) -> str:
    """Every row of every table of a database."""
    engine = sqlalchemy.create_engine(parse_database_url("storage", url), poolclass=NullPool)
    tables = sqlalchemy.MetaData()
    tables.reflect(engine)
    with engine.connect() as connection:
        rows = [connection.execute(table.select()).all() for table in tables.sorted_tables]
    return repr(rows)


def test_a_password_would_be_found() -> None:
    assert all(find_secret(f"<{each}>") for each in (SECRET, QUOTED, repr(SECRET), SECRET[:5]))


@pytest.mark.parametrize("place", PLACES)
def test_a_search_keeps_a_password_to_itself(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    server: str,
    log: io.StringIO,
    recwarn: pytest.WarningsRecorder,
    place: str,
) -> None:
    """The search itself, a worker that joins it, its status, and the search's result again."""
    monkeypatch.chdir(tmp_path)
    url = PLACES[place](server)
    kept = f"kept://me:{QUOTED}@host/kept"
    joined = ("--storage", url, "--study", place)
    lines = [
        ("search", *SMALL, *ONE, *joined, "--output", "out", "--checkpoints", kept),
        ("status", *joined),
        ("status", *joined, "--json"),
        ("worker", *joined, *ONE, "--checkpoints", f"{kept}/{quote(place, safe='')}"),
        ("search", *SMALL, *ONE, *joined, "--output", "out", "--checkpoints", kept, "--json"),
        ("search", *SMALL, *ONE, *joined, "--output", "out", "--seed", "1"),
    ]
    runner = CliRunner()
    done = [runner.invoke(app, line) for line in lines]
    # Another seed is another experiment.
    assert [each.exit_code for each in done] == [0, 0, 0, 0, 0, 2], [each.output for each in done]
    said = "".join(each.output for each in done)
    assert "Search: 2 of 2 GPU×epochs spent" in said
    assert not find_secret(said)
    assert not find_secret(log.getvalue())
    assert not find_secret("".join(str(warning.message) for warning in recwarn))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"best.yaml", "result.json", "model.pt"} <= {path.name for path in files}
    assert [path for path in files if find_secret(path.read_bytes()) or find_secret(str(path))] == []
    rows = contents_of(server)
    assert place in rows
    assert not find_secret(rows)


WRONG = {
    "nobody listens": f"postgresql://me:{QUOTED}@127.0.0.1:1/x",
    "no such host": f"postgresql://me:{QUOTED}@nowhere.invalid/x",
    "no such option": f"postgresql://me:{QUOTED}@127.0.0.1/x?password={QUOTED}&nonsense=1",
    "no such service": f"postgresql://me:{QUOTED}@127.0.0.1/x?service=nonsense&sslpassword={QUOTED}",
    "no port": f"postgresql://me:{QUOTED}@host:port/x",
    "no such driver": f"postgresql+nonsense://me:{QUOTED}@host/x",
    "another database": f"mysql://me:{QUOTED}@host/x?password={QUOTED}",
    "no scheme": f"me:{QUOTED}@host/x",
    "not quoted": "postgresql://me:s3cr@t@host:port/x",
    "an option alone": f"postgresql:?password={QUOTED}",
}


@pytest.mark.parametrize("command", ["search", "worker", "status"])
@pytest.mark.parametrize("wrong", WRONG)
def test_a_storage_that_fails_does_not_show_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: io.StringIO, command: str, wrong: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hpo_gn.budget.patience.OPENING_PATIENCE_S", 0.0)
    done = CliRunner().invoke(
        app, [command, *(SMALL if command == "search" else ()), "--storage", WRONG[wrong]]
    )
    assert done.exit_code == 2
    assert done.stderr.startswith("hpo-gn: ")
    assert not find_secret(done.output)
    assert not find_secret(log.getvalue())


KEPT = {
    "no such protocol": f"nonsense://me:{QUOTED}@host/x",
    "a package that is missing, or a host": f"sftp://me:{QUOTED}@nowhere.invalid/x",
    "a chain": f"dir://x::nonsense://me:{QUOTED}@host/x",
    "an option": f"nonsense://host/x?password={QUOTED}",
    "a pattern": f"kept://me:{QUOTED}@host/[x",
}


@pytest.mark.parametrize("kept", KEPT)
def test_a_place_of_checkpoints_that_fails_does_not_show_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log: io.StringIO, kept: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["search", *SMALL, "--checkpoints", KEPT[kept]])
    assert done.exit_code == 2
    assert not find_secret(done.output)
    assert not find_secret(log.getvalue())
    assert not any(find_secret(path.read_bytes()) for path in tmp_path.rglob("*") if path.is_file())


@pytest.mark.parametrize("wrong", WRONG)
def test_a_traceback_does_not_show_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, wrong: str) -> None:
    """What Python prints of an error that nobody caught, what it was caused by included."""
    monkeypatch.setattr("hpo_gn.budget.patience.OPENING_PATIENCE_S", 0.0)
    url = WRONG[wrong]
    calls: list[Callable[[], Any]] = [
        lambda: search(experiment(), budget=2, storage=url, output=tmp_path),
        lambda: join(url),
        lambda: Ledger(url, "s", limit=1),
    ]
    for call in calls:
        with pytest.raises(HpoGnError) as caught:
            call()
        assert not find_secret("".join(traceback.format_exception(caught.value)))


def experiment() -> Experiment:
    small = {"searcher": "random", "epochs": 1, "round_size": 2}
    return Experiment("digits", paper_space(), make_objective("val-loss"), model="mlp", **small)


def test_no_representation_shows_it(server: str) -> None:
    url = with_options(with_user(server))
    ledger = Ledger(url, "representations", limit=10)
    checkpoints = Checkpoints(f"kept://me:{QUOTED}@host/x")
    place = Place(url, "s", checkpoints)
    worker = Worker(experiment(), place, torch.device("cpu"))
    things: list[Any] = [
        ledger,
        ledger.database,
        ledger.hold(0, epochs=1),
        ledger.statement(),
        checkpoints,
        place,
        worker,
        SearchProtocol(worker.experiment, place, 1, False),
        worker.experiment,
    ]
    found = [type(thing).__name__ for thing in things if find_secret(f"{thing!r} {thing}")]
    ledger.close()
    assert found == []


NAMES = {
    "the folder above": "../../x",
    "a path from the root": "/tmp/hpo_gn-escaped",
    "a folder": "a/b",
    "this folder": ".",
    "its parent": "..",
    "three dots": "...",
    "Windows' own": "con:|?*\\",
    "home": "~root",
    "lines": "a\nb\r\tc",
    "letters": "größe ☃",
    "an option": "--help",
    "per cent": "%2e%2e%2f",
    "space": " ",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_studys_name_leads_nowhere_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """All that a search writes is in runs/ and, of its checkpoints, in their folder, one folder each."""
    inside = tmp_path / "a" / "b" / "c"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    with no_trials(), pytest.raises(RightError):
        CliRunner().invoke(
            app, ["search", *SMALL, "--checkpoints", "kept", f"--study={NAMES[name]}"], catch_exceptions=False
        )
    made = {path.relative_to(tmp_path) for path in tmp_path.rglob("*")} - {
        Path("a"),
        Path("a/b"),
        Path("a/b/c"),
    }
    base = Path("a/b/c")
    assert {path.parts[:4] for path in made} == {(*base.parts, "runs"), (*base.parts, "kept")}
    assert len([path for path in made if path.parent == base / "runs"]) == 1
    assert len([path for path in made if path.parent == base / "kept"]) == 1
    assert (base / "runs" / as_component(NAMES[name]) / "study.db") in made
    assert not Path("/tmp/hpo_gn-escaped").exists()


def test_names_that_differ_have_folders_that_differ() -> None:
    assert len({as_component(name) for name in NAMES.values()}) == len(NAMES)
