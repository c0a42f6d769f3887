"""Any number of command lines and space files that are wrong, or may be: each is a function of its number."""

import copy
import json
import random
from collections.abc import Callable
from functools import cache
from typing import Any

import typer
import yaml

from hpo_gn.cli import app
from tests.chaos.hand_made import FLOAT, INTEGER, RARE, RIGHT, npz
from tests.chaos.specs import Case

VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2**31, 2**53, 2**63, -(10**40), 10**400, 0.1, -0.5, 1e-13, 1e-14, 5e-324,
    1e308, float("nan"), float("inf"), float("-inf"), "", " ", "x", "1e-3", "no", "null", "{}", "\0",
    "\ud800", "é\n☃", "x" * 3000, [], {}, [[]], [None], ["a", "a"], [1, True], [1.0, 1], {"a": 1},
    [float("nan")] * 2, "categorical", "uniform_float", "normal_int", "beta_float", {"step": 0.1},
    {"step": -1}, {"step": 5e-324}, {"step": "x"},
]  # fmt: skip
"""What may stand where a space file has something else."""
SNIPPETS = [
    b"\0", b"\t", b"\xff", b"\xef\xbb\xbf", b"&a ", b"*a", b"!!python/name:os.system ", b"!!timestamp ",
    b"!!binary ", b"!!int ", b"!!float ", b"!!bool ", b"!!set ", b"!x ", b"<<: ", b"? ", b"- ", b": ", b"{",
    b"}", b"[", b"]", b"'", b'"', b"|", b">", b"#", b"%YAML 9\n", b"---\n", b"...\n", b"\n", b"\r", b"\x85",
    b"0x", b"1e", b"NaN", b"\\u",
]  # fmt: skip
"""What may be anywhere in a space file."""
WORDS = [
    "", " ", "0", "-1", "1", "3", "1.5", "1e3", "1e999", "nan", "inf", "-inf", "9" * 30, "9" * 5000, "0x10",
    "1_000", "٣", "true", "None", "x", "é☃", "a\nb", "\0", "\udcff", "\x1b[31m", "x" * 5000, "..", "/",
    "/dev/null", "~", "-", "--", "--seed", "-h", "%s{}", "[/red]", "*", "?", "a/b", "file", "folder/",
    "sqlite://", "sqlite:///", "sqlite:///file", "sqlite:////", "sqlite:///study.db?mode=ro",
    "sqlite+nothing:///x", "postgresql://", "mysql://x", "postgresql://u:secret@:port/x", "://", "s3://",
    "memory://x", "nowhere://x", "file://", "dir://x", "x::y", "own", "own.npz", "own:f", ":", "a:", ":b",
    ".:x", "math:pi", "builtins:len", "math:nothing", "cpu", "cuda:99", "meta", "digits", "mlp", "resnet20",
    "val-loss", "agn-train", "random", "bohb", "tpe", "epochs", "measures", "sampled",
]  # fmt: skip
"""What may be the value of any option."""


def generate(number: int) -> Case:
    """The case of a number."""
    chance = random.Random(number)
    return (space_case if chance.random() < 0.6 else line_case)(chance)


def space_case(chance: random.Random) -> Case:
    """A right space with some things changed."""
    document = copy.deepcopy(RIGHT)
    if chance.random() < 0.5:
        document["hyperparameters"].append(copy.deepcopy(chance.choice([FLOAT, INTEGER, *RARE])))
    for _ in range(chance.choice([0, 1, 1, 1, 2, 3])):
        mutate(chance, document)
    name = chance.choice(["space.yaml", "space.yaml", "space.json"])
    text = written(chance, document, name)
    for _ in range(chance.choice([0, 0, 0, 1, 2])):
        text = chance.choice(DAMAGES)(chance, text)
    return Case(("search", "--space", name, "--budget", "1"), {name: text})


def mutate(chance: random.Random, document: dict[str, Any]) -> None:
    """Change one thing in a space."""
    items = document["hyperparameters"] if isinstance(document.get("hyperparameters"), list) else []
    where: Any = chance.choice([document, *[item for item in items if isinstance(item, dict)] * 3])
    if not where:
        return
    key = chance.choice(list(where))
    match chance.randrange(5):
        case 0:
            del where[key]
        case 1:
            where[chance.choice(["", "lowr", key.upper(), "meta", "weights", "default_value", "\0"])] = (
                where.pop(key)
            )
        case _:
            where[chance.choice([key, key, "default_value", "log"])] = copy.deepcopy(chance.choice(VALUES))


def written(chance: random.Random, document: Any, name: str) -> bytes:
    """A document as JSON, or as YAML of one style or the other."""
    if name.endswith("json") or chance.random() < 0.3:
        return json.dumps(document, ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass")
    flow = chance.choice([True, False, None])
    return yaml.dump(document, Dumper=_NoAliases, default_flow_style=flow).encode("utf-8", "surrogatepass")


class _NoAliases(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def cut(chance: random.Random, text: bytes) -> bytes:
    """A text without its end."""
    return text[: chance.randrange(len(text) + 1)]


def flip(chance: random.Random, text: bytes) -> bytes:
    """A text with a bit flipped."""
    place, bit = chance.randrange(max(1, len(text))), chance.randrange(8)
    return text[:place] + bytes(each ^ 1 << bit for each in text[place : place + 1]) + text[place + 1 :]


def insert(chance: random.Random, text: bytes) -> bytes:
    """A text with something put in."""
    place = chance.randrange(len(text) + 1)
    return text[:place] + chance.choice(SNIPPETS) * chance.choice([1, 1, 2, 300]) + text[place:]


def repeat(chance: random.Random, text: bytes) -> bytes:
    """A text with a part of it twice."""
    first, last = sorted(chance.randrange(len(text) + 1) for _ in range(2))
    return text[:last] + text[first:]


DAMAGES: list[Callable[[random.Random, bytes], bytes]] = [cut, flip, insert, repeat]


def line_case(chance: random.Random) -> Case:
    """A command line with some things wrong, or none."""
    command = chance.choice(["search", "search", "search", "plan", "worker", "status"])
    files = {"file": chance.choice([b"", b"x" * 5000]), "own.npz": damaged_data(chance)}
    words = ["--no-probe"] if command == "plan" else []
    if command in ("search", "plan") and chance.random() < 0.8:
        words += ["--budget", "1"]  # too little; it is looked at last
    for _ in range(chance.choice([1, 1, 2, 3])):
        words += option(chance, command)
    if chance.random() < 0.1:
        words.insert(chance.randrange(len(words) + 1), chance.choice(WORDS))
    if chance.random() < 0.05:
        command = chance.choice([*WORDS, command[:-1], command.upper()])
    return Case((command, *words), files)


def option(chance: random.Random, command: str) -> list[str]:
    """An option, its name or its value perhaps wrong, or missing."""
    name, flag = chance.choice(options()[command])
    value = chance.choice(WORDS)
    match chance.randrange(12):
        case 0:
            name = name[: chance.randrange(len(name) + 1)]
        case 1:
            name += chance.choice(["s", "-", "=", " ", "\0", "☃"])
        case 2:
            return [name]
        case 3:
            return [f"{name}={value}"]
    return [name] if flag else [name, value]


@cache
def options() -> dict[str, list[tuple[str, bool]]]:
    """Each command's options, and whether they are flags; --watch goes on for ever where it is right."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # it is a group
    return {
        name: [
            (option, option_of.is_flag)
            for option_of in command.params
            if option_of.param_type_name == "option"
            for option in option_of.opts
            if option != "--watch"
        ]
        for name, command in commands.items()
    }


@cache
def _data() -> bytes:
    return npz()


def damaged_data(chance: random.Random) -> bytes:
    """A data file, damaged perhaps."""
    return chance.choice([*DAMAGES, lambda _chance, data: data])(chance, _data())
