import re

import pytest

from hpo_gn.comparison.choice import Choice
from hpo_gn.comparison.spec import read_spec
from hpo_gn.errors import SpecError
from hpo_gn.space import paper_space
from tests.comparison.written import SPACE, write_spec, write_training


def test_what_is_left_out_has_a_default(tmp_path):
    spec = read_spec(write_spec(tmp_path, seed=None))
    assert (spec.name, spec.seeds, spec.retrainings, spec.table) == ("small", (0, 1, 2), 3, None)
    assert (spec.pruners, spec.baseline, spec.space) == ((Choice("none"),), "val-loss", paper_space())
    assert (spec.settings, spec.threads) == ({"epochs": 4}, 1)


def test_everything_can_be_given(tmp_path):
    write_training(tmp_path)
    agn = {"name": "agn-val", "alpha": [1e-5, 1e-4]}
    given = {"eta": 3, "min_epochs": 2, "fraction": 0.5, "charge": "measures", "threads": 2}
    path = write_spec(
        tmp_path,
        name="other",
        objective=["val-loss", agn],
        pruner=["none", {"name": "give-up", "signal": "s-fv"}],
        seed=[7, 3],
        baseline="agn-val(alpha=0.0001)",
        space="space.yaml",
        table="runs.jsonl.gz",
        **given,
    )
    spec = read_spec(path)
    assert (spec.seeds, spec.baseline, spec.table) == (
        (7, 3),
        "agn-val(alpha=0.0001)",
        tmp_path / "runs.jsonl.gz",
    )
    assert [pruner.label for pruner in spec.pruners] == ["none", "give-up(signal='s-fv')"]
    assert list(spec.space) == [SPACE["hyperparameters"][0]["name"]]
    assert (spec.settings, spec.threads, spec.size) == ({"epochs": 4} | given, 2, 12)


def test_data_files_are_looked_for_beside_the_specification(tmp_path, monkeypatch):
    (tmp_path / "specs").mkdir()
    write_spec(tmp_path / "specs", data=["digits", "mine.npz"])
    monkeypatch.chdir(tmp_path)
    assert read_spec("specs/small.yaml").data == ("digits", str(tmp_path / "specs" / "mine.npz"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": None}, "data is missing"),
        ({"objective": None}, "objective is missing"),
        ({"budget": None}, "budget is missing"),
        ({"epochs": None}, "epochs is missing"),
        ({"model": None}, "model must be there, unless training is, and not both"),
        ({"training": "own:Slow"}, "model must be there, unless training is, and not both"),
        ({"sercher": "bohb"}, "no key of a specification is called 'sercher'; did you mean 'searcher'?"),
        ({"signal": "s-fv"}, "signal must be given with its pruner, as {name: give-up, signal: …}"),
        ({"searcher": []}, "searcher must be a value or more, since a product with nothing is empty, got []"),
        (
            {"budget": [8, 16]},
            "budget must be a positive integer: a comparison has one budget and one number",
        ),
        ({"epochs": [4, 8]}, "epochs must be a positive integer: a comparison has one budget and one number"),
        (
            {"objective": {"name": "agn-val", "budget": 9}},
            "objective agn-val cannot have budget: a comparison",
        ),
        ({"objective": {"name": "agn", "alpha": 1}}, "no objective is called 'agn'; did you mean 'agn-val'?"),
        ({"objective": {"name": "agn-val", "beta": 1}}, "no setting of objective agn-val is called 'beta'"),
        ({"pruner": {"name": "give-in", "signal": "s-f"}}, "no pruner is called 'give-in'; did you"),
        ({"budget": "8"}, "budget must be a positive integer, got '8'"),
        ({"budget": True}, "budget must be a positive integer, got True"),
        ({"epochs": 0}, "epochs must be a positive integer, got 0"),
        ({"fraction": 1.5}, "fraction must be a number above 0 and below 1, got 1.5"),
        ({"charge": "time"}, "charge must be epochs or measures, got 'time'"),
        ({"charge": ["epochs"]}, "charge must be epochs or measures, got ['epochs']"),
        ({"from_scratch": "no"}, "from_scratch must be true or false, got 'no'"),
        ({"seed": 0}, "seed must be a number of seeds up to 10,000, or a list of seeds, got 0"),
        ({"seed": [0, -1]}, "seed must be a number of seeds up to 10,000, or a list of seeds, got [0, -1]"),
        ({"seed": [1, 1]}, "seed must be a list without repetitions, got [1, 1]"),
        ({"name": "a/b"}, "name must be 1 to 100 printable characters without /, got 'a/b'"),
        ({"baseline": "val-los"}, "no objective of this specification is called 'val-los'; did"),
        ({"space": "gone.yaml"}, "gone.yaml: cannot be read: No such file or directory"),
    ],
)
def test_what_is_wrong_is_one_line_with_the_file_and_the_key(tmp_path, changes, message):
    path = tmp_path / "small.yaml"
    if "name" in changes:
        changes, name = {}, changes["name"]
        write_spec(tmp_path)
        path.write_text(path.read_text()[:-1] + f', "name": "{name}"}}')
    else:
        write_spec(tmp_path, **changes)
    with pytest.raises(SpecError, match=re.escape(message)) as raised:
        read_spec(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("budget: 8\nbudget: 9\n", "key 'budget' is there twice"),
        ("- val-loss\n", "must be a mapping of keys such as data, objective and budget"),
        ("", "must be a mapping of keys such as data, objective and budget"),
        ("objective: [val-loss\n", "expected ',' or ']'"),
        ("&a [*a]\n", "must be a mapping"),
        (
            "data: &a [*a]\nmodel: mlp\nobjective: val-loss\nsearcher: random\nbudget: 8\nepochs: 4\n",
            "data must be",
        ),
    ],
)
def test_a_file_that_is_no_specification_is_one_line(tmp_path, text, message):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(SpecError, match=re.escape(message)) as raised:
        read_spec(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(SpecError, match=r"gone\.yaml: cannot be read: No such file or directory"):
        read_spec(tmp_path / "gone.yaml")
