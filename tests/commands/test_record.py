import json

import pytest
import typer
from typer.testing import CliRunner

from hpo_gn.cli import OneLineGroup
from hpo_gn.commands.record import record
from hpo_gn.recorded import read_table
from tests.recorded.test_recording import WHOLE, made_study

app = typer.Typer(cls=OneLineGroup)
app.callback()(lambda: None)
app.command()(record)


@pytest.fixture
def command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, ["record", *map(str, arguments)])


def test_it_writes_the_table_and_says_what_is_in_it(command, tmp_path):
    url = made_study(tmp_path, [WHOLE] * 3, data="digits", model=None, epochs=2)
    (tmp_path / "t.jsonl").write_text(
        json.dumps({"number": 1, "test_accuracy": [0.9], "test_loss": [0.1]}) + "\n"
    )
    done = command("s.jsonl.gz", "--storage", url, "--tests", "t.jsonl")
    size = (tmp_path / "s.jsonl.gz").stat().st_size
    assert done.stdout == f"s.jsonl.gz: 3 runs, 0 of them diverged, 1 with test results, {size:,} bytes\n"
    table = read_table(tmp_path / "s.jsonl.gz")
    assert table.header["command"] == "hpo-gn search --data digits --epochs 2"
    command("s.jsonl.gz", "--storage", url, "--study", "s", "--command", "mine")
    assert read_table(tmp_path / "s.jsonl.gz").header["command"] == "mine"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["s.json"], "FILE must be a name that ends in .jsonl.gz, got 's.json'"),
        (["s.jsonl.gz"], "storage must be given"),
        (["s.jsonl.gz", "--storage", "sqlite:///none.db"], "there is no database"),
    ],
)
def test_a_mistake_is_one_line_and_writes_nothing(command, tmp_path, arguments, message):
    done = command(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
