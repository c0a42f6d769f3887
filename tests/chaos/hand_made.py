"""Command lines, space files and data files that are wrong, made by hand."""

import io
import json
from typing import Any

import numpy as np
import yaml

from tests.chaos.specs import Case

FLOAT = {"name": "x", "type": "uniform_float", "lower": 0.0, "upper": 1.0}
INTEGER = {"name": "x", "type": "uniform_int", "lower": 1, "upper": 9}
CHOICE = {"name": "x", "type": "categorical", "choices": ["a", "b"]}
NEEDED = [
    {"name": "batch_size", "type": "uniform_int", "lower": 8, "upper": 64, "default_value": 16, "log": True},
    {"name": "learning_rate", "type": "uniform_float", "lower": 0.001, "upper": 0.5, "default_value": 0.1},
    {"name": "momentum", "type": "constant", "value": 0.9},
    {"name": "weight_decay", "type": "ordinal", "sequence": [0.0, 0.1], "default_value": 0.0},
]
RIGHT = {"name": "own", "hyperparameters": NEEDED, "conditions": [], "forbiddens": []}
RARE = [
    {"name": "x", "type": "normal_float", "mu": 0.0, "sigma": 1.0, "lower": -1, "upper": 1},
    {"name": "x", "type": "beta_int", "alpha": 1, "beta": 2, "lower": 1, "upper": 3},
    {**INTEGER, "meta": {"step": 2}, "default_value": 3},
    {**FLOAT, "meta": {"step": 0.25}},
    {**CHOICE, "weights": [1, 2]},
]


def of_space(contents: bytes | str, name: str = "space.yaml") -> Case:
    """The search of a space file."""
    data = contents if isinstance(contents, bytes) else contents.encode("utf-8", "surrogatepass")
    return Case(("search", "--space", name), {name: data})


def of_item(**fields: Any) -> Case:
    """The search of a space with one hyperparameter."""
    return of_space(json.dumps({"hyperparameters": [fields]}), "space.json")


def of_data(**arrays: Any) -> Case:
    """The search on data of one's own."""
    return Case(("search", "--data", "own.npz"), {"own.npz": npz(**arrays)})


def npz(**changes: Any) -> bytes:
    """A right data file but for the changes; None leaves an array out."""
    right: dict[str, Any] = {
        "x_train": np.zeros((300, 4), np.float32),
        "y_train": np.arange(300) % 3,
        "x_test": np.zeros((30, 4), np.float32),
        "y_test": np.arange(30) % 3,
    }
    file = io.BytesIO()
    np.savez(file, **{name: array for name, array in (right | changes).items() if array is not None})
    return file.getvalue()


def searching(*options: str, **files: bytes) -> Case:
    """A search with options."""
    return Case(("search", *options), files)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
DEEP = 100_000

HAND_MADE: dict[str, Case] = {
    "no such command": Case(("serach",)),
    "an option of no command": Case(("--budget", "3")),
    "a command and a word": searching("more"),
    "an unknown option": searching("--buget", "8"),
    "an option without its value": searching("--budget"),
    "a word for a number": searching("--budget", "many"),
    "a fraction for an integer": searching("--budget", "1.5"),
    "an empty number": searching("--budget", ""),
    "a negative budget": searching("--budget", "-3"),
    "a budget of 400 digits": searching("--budget", "9" * 400),
    "a budget of 5,000 digits": searching("--budget", "9" * 5000),
    "more epochs than a database counts": searching("--budget", "9" * 30, "--epochs", "9" * 30),
    "no epochs": searching("--epochs", "0"),
    "a flag with a value": searching("--json=yes"),
    "a share of nan": searching("--fraction", "nan"),
    "an infinite share": searching("--validation-fraction", "inf"),
    "an alpha of nan": searching("--objective", "agn-val", "--alpha", "nan"),
    "a lease of nan": searching("--lease", "nan"),
    "a lease of no time": searching("--lease", "0"),
    "an infinite lease": searching("--lease", "inf"),
    "a negative seed": searching("--seed", "-1"),
    "more threads than a processor has": searching("--threads", "9" * 10),
    "no seeds": searching("--seeds", "0"),
    "an unknown way to charge": searching("--charge", "nothing"),
    "agn in an unknown way": searching("--objective", "agn-val", "--agn", "guessed"),
    "more fewest epochs than epochs": searching("--searcher", "bohb", "--epochs", "2", "--min-epochs", "3"),
    "a ratio of one": searching("--searcher", "bohb", "--eta", "1"),
    "a model of no module": searching("--model", "nowhere:build"),
    "a model that is no function": searching("--model", "math:pi"),
    "a module with wrong syntax": Case(("search", "--model", "own:f"), {"own.py": b"def f(:"}),
    "a module that raises": Case(("search", "--training", "own:f"), {"own.py": b"1 / 0"}),
    "a module that exits": Case(("search", "--data", "own:f"), {"own.py": b"raise SystemExit(0)"}),
    "a training that raises": Case(
        ("search", "--training", "own:f"), {"own.py": b"def f(*a, **k):\n  raise ValueError('two\\nlines')"}
    ),
    "a data function that gives nothing": Case(
        ("search", "--data", "own:f"), {"own.py": b"def f():\n  return None"}
    ),
    "a searcher that is none": searching("--searcher", "collections:Counter"),
    "an objective that is none": searching("--objective", "builtins:dict"),
    "a NUL in a name": searching("--study", "a\0b"),
    "no UTF-8 in a name": searching("--study", "a\udcffb"),
    "a study's name of 100,000 characters": searching("--study", "x" * 100_000),
    "an output in a file": Case(("search", "--output", "file/inside"), {"file": b""}),
    "an output that is a file": Case(("search", "--output", "file"), {"file": b""}),
    "a checkpoint folder that is a file": Case(("search", "--checkpoints", "file"), {"file": b""}),
    "checkpoints of no protocol": searching("--checkpoints", "nowhere://me:secret@host/x"),
    "an empty storage": searching("--storage", ""),
    "a storage in memory": searching("--storage", "sqlite://"),
    "a storage of another kind": searching("--storage", "mysql://me:secret@host/x"),
    "a storage with no port": searching("--storage", "postgresql://me:secret@host:port/x"),
    "a storage that is a folder": searching("--storage", "sqlite:////"),
    "a storage that is no database": Case(("search", "--storage", "sqlite:///own"), {"own": b"x" * 5000}),
    "no such GPU": searching("--device", "cuda:99"),
    "no such device": searching("--device", "abacus"),
    "no workers": searching("--workers", "0"),
    "a share of a GPU without Ray": searching("--gpus-per-trial", "0.5"),
    "a worker of no search": Case(("worker", "--storage", "sqlite:///none.db")),
    "a worker that waits for nan": Case(("worker", "--storage", "sqlite:///none.db", "--wait", "nan")),
    "a worker without a storage": Case(("worker",)),
    "the status of no search": Case(("status", "--storage", "sqlite:///none.db")),
    "the status of an empty file": Case(("status", "--storage", "sqlite:///own"), {"own": b""}),
    "the status of no database": Case(("status", "--storage", "sqlite:///own"), {"own": b"x" * 5000}),
    "looks without time between": Case(("status", "--watch", "--interval", "nan")),
    "a plan of no budget": Case(("plan", "--no-probe", "--budget", "0")),
    "a plan of more than a ledger counts": Case(("plan", "--no-probe", "--budget", "9" * 30)),
    "a plan of no workers": Case(("plan", "--no-probe", "--workers", "0")),
    "no space file": searching("--space", "nowhere.yaml"),
    "a folder for a space": searching("--space", "."),
    "an endless space": searching("--space", "/dev/zero"),
    "an empty space": of_space(""),
    "a binary space": of_space(bytes(range(256))),
    "a UTF-16 space": of_space(yaml.safe_dump(RIGHT).encode("utf-16")),
    "a space of two megabytes": of_space("#" * 2_000_000),
    "a space that runs code": of_space("!!python/object/apply:os.system ['touch ran']"),
    "a tag that PyYAML chokes on": of_space("hyperparameters: !!timestamp soon"),
    "a truth that is none": of_space("hyperparameters: [{name: x, type: uniform_float, log: !!bool x}]"),
    "a bomb of aliases": of_space(f"{BOMB}hyperparameters: *i"),
    "a bomb in a name": of_space(f"hyperparameters:\n- name: x\n  type: constant\n  value: 1\n{BOMB}"),
    "a space inside itself": of_space("&a {hyperparameters: [*a]}"),
    "choices inside themselves": of_space(
        "hyperparameters: [{name: x, type: categorical, choices: &a [*a, b]}]"
    ),
    "a deep YAML": of_space("hyperparameters: " + "[" * DEEP),
    "a deep JSON": of_space("[" * DEEP, "space.json"),
    "a mapping as a key": of_space("{{a: b}: c}"),
    "a key twice": of_space("hyperparameters: []\nhyperparameters: []"),
    "60,000 keys in JSON": of_space(
        "{" + ",".join(f'"{n}": 0' for n in range(60_000)) + ', "0": 0}', "space.json"
    ),
    "two documents": of_space("hyperparameters: []\n---\nhyperparameters: []"),
    "JSON with NaN": of_space(
        '{"hyperparameters": [{"name": "x", "type": "uniform_float", "lower": NaN}]}', "space.json"
    ),
    "a list for a space's name": of_space(json.dumps({**RIGHT, "name": ["a", "a"]}), "space.json"),
    "a range of less than a step": of_item(**{**FLOAT, "upper": 1e-13}, meta={"step": 0.25}),
    "conditions": of_space(json.dumps({**RIGHT, "conditions": [{"type": "EQ"}]}), "space.json"),
    "forbidden clauses": of_space(json.dumps({**RIGHT, "forbiddens": [{"type": "AND"}]}), "space.json"),
    "hyperparameters by name": of_space("hyperparameters: {x: {type: uniform_float}}"),
    "a list for a type": of_item(name="x", type=["uniform_float"]),
    "a type of ours that is not supported": of_item(**RARE[0]),
    "weights": of_item(**RARE[4]),
    "bounds of 400 digits": of_item(**{**INTEGER, "upper": 10**400}),
    "bounds beyond all numbers": of_item(**{**FLOAT, "lower": -1.7e308, "upper": 1.7e308}),
    "a lower bound of zero on a log scale": of_item(**FLOAT, log=True),
    "the wrong way round": of_item(**{**FLOAT, "lower": 2.0}),
    "a step of next to nothing": of_item(**FLOAT, meta={"step": 5e-324}),
    "a default outside": of_item(**FLOAT, default_value=7.0),
    "a name of nothing": of_item(**{**FLOAT, "name": ""}),
    "a name of many lines": of_item(**{**FLOAT, "name": "a\nb"}),
    "a name of 100,000 characters": of_item(**{**FLOAT, "name": "x" * 100_000}),
    "half a character for a name": of_item(**{**FLOAT, "name": "\ud800"}),
    "the same choice twice": of_item(**{**CHOICE, "choices": [1, True]}),
    "choices that cannot be told apart": of_item(**{**CHOICE, "choices": ["a", "a"]}),
    "no data file": searching("--data", "nowhere.npz"),
    "a folder for data": searching("--data", "./.npz"),
    "a damaged data file": Case(("search", "--data", "own.npz"), {"own.npz": npz()[:2000]}),
    "a text for data": Case(("search", "--data", "own.npz"), {"own.npz": b"hello"}),
    "data without labels": of_data(y_train=None),
    "data that are pickled": of_data(x_train=np.array([{1: 2}] * 300, dtype=object)),
    "labels that are words": of_data(y_train=np.array(["a"] * 300)),
    "labels below zero": of_data(y_train=np.arange(300) % 3 - 1),
    "one class": of_data(y_train=np.zeros(300, int)),
    "a label of 10¹²": of_data(y_train=np.array([10**12] * 300)),
    "other numbers of inputs and labels": of_data(x_train=np.zeros((7, 4), np.float32)),
    "no samples": of_data(x_train=np.zeros((0, 4), np.float32), y_train=np.zeros(0, int)),
    "inputs of nan": of_data(x_train=np.full((300, 4), np.nan, np.float32)),
    "inputs of no shape": of_data(x_train=np.float32(3)),
    "complex inputs": of_data(x_train=np.zeros((300, 4), complex)),
}
