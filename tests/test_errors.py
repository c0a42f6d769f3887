import inspect
import re

import pytest

from hpo_gn import errors
from hpo_gn.errors import ArgumentError, HpoGnError, UnknownNameError

CLASSES = {name: value for name, value in vars(errors).items() if inspect.isclass(value)}
CLASSES = {name: value for name, value in CLASSES.items() if value.__module__ == errors.__name__}


def test_the_tree_in_the_docstring_is_the_tree():
    drawn, parents = {}, []
    for indent, name in re.findall(r"^((?:[│ ]{4})*)(?:├── |└── )(\w+)", errors.__doc__, re.MULTILINE):
        depth = len(indent) // 4
        parents[depth:] = [name]
        drawn[name] = parents[depth - 1] if depth else "HpoGnError"
    bases = {
        name: next(base.__name__ for base in value.__bases__ if issubclass(base, HpoGnError))
        for name, value in CLASSES.items()
        if value is not HpoGnError
    }
    assert drawn == bases


@pytest.mark.parametrize(
    ("name", "base"),
    [
        ("ArgumentError", ValueError),
        ("SpaceError", ValueError),
        ("SpecError", ValueError),
        ("UnknownNameError", LookupError),
    ],
)
def test_an_error_is_also_what_pythons_own_would_be(name, base):
    assert issubclass(CLASSES[name], base)


def test_every_error_says_what_it_means():
    assert [name for name, value in CLASSES.items() if not value.__doc__] == []


def test_an_argument_error_names_the_rule_and_the_value():
    error = ArgumentError("batch_size", "an integer from 1 to 1000", "0")
    assert str(error) == "batch_size must be an integer from 1 to 1000, got '0'"


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("cma", ["random", "cma-es"], "did you mean 'cma-es'?"),
        ("tpe ", iter(["random", "tpe"]), "did you mean 'tpe'?"),
        ("nonsense", ["random", "cma-es"], "known: cma-es, random"),
        ("nonsense", iter(["random", "cma-es"]), "known: cma-es, random"),
    ],
)
def test_an_unknown_name_error_names_the_nearest_or_all(name, known, hint):
    assert str(UnknownNameError("searcher", name, known)) == f"no searcher is called {name!r}; {hint}"
