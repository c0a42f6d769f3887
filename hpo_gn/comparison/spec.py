"""A comparison's specification: what is combined, at which budget, read from a YAML file.

For instance::

    data: digits                    # one value or a list
    model: mlp
    objective:
      - val-loss
      - {name: agn-val, alpha: [1e-5, 1e-4]}     # a list in a setting is a product
    searcher: [cma-es, random]
    pruner: [none, {name: give-up, signal: s-fv}]
    seed: 3                         # 0, 1 and 2; or a list
    budget: 128                     # GPU×epochs of every cell
    epochs: 8

Everything else is an argument of `Experiment`, with its default, or one of `Spec`.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ConfigSpace import ConfigurationSpace

from hpo_gn.comparison.choice import ONE_BUDGET, Choice, Shown, read_choices, settings_of
from hpo_gn.errors import ArgumentError, HpoGnError, SpecError, UnknownNameError
from hpo_gn.registry import load
from hpo_gn.space import load_space, paper_space
from hpo_gn.space_file import read_document

NO_PRUNER = "none"
_PRUNER_SETTINGS = ("signal", "shadows", "false_kills")
_SEEDS = 3


@dataclass(frozen=True)
class Spec:
    """What a comparison is of: every objective with every searcher, pruner, model, data set and seed.

    Args:
        path: the file.
        name: of the comparison; by default the file's.
        data, models: names.
        trainings: whether `models` names trainings, `module:function`.
        objectives, searchers, pruners: with their settings.
        seeds: of the searches.
        budget: in GPU×epochs, of each cell.
        retrainings: of a cell's winner.
        baseline: the label of the objective that the others are compared with; by default the first.
        table: a recorded table to replay on; None if there is none.
        space: of every search; by default the AGN paper's.
        settings: further arguments of `Experiment`.
    """

    path: Path
    name: str
    data: tuple[str, ...]
    models: tuple[str, ...]
    trainings: bool
    objectives: tuple[Choice, ...]
    searchers: tuple[str, ...]
    pruners: tuple[Choice, ...]
    seeds: tuple[int, ...]
    budget: int
    retrainings: int
    baseline: str
    table: Path | None
    space: ConfigurationSpace
    settings: Mapping[str, Any]

    @property
    def threads(self) -> int:
        """CPU threads of each cell."""
        return int(self.settings.get("threads", 1))

    @property
    def size(self) -> int:
        """How many cells there are."""
        axes = (self.data, self.models, self.objectives, self.searchers, self.pruners, self.seeds)
        size = 1
        for axis in axes:
            size *= len(axis)
        return size


def read_spec(path: str | Path) -> Spec:
    """The specification of a YAML file; files that it names are looked for beside it.

    Raises:
        SpecError: the file cannot be read, or the first thing that is wrong in it, with the file and the
            key.
    """
    path = Path(path)
    with said_of(path):
        document = read_document(path)
        if not isinstance(document, dict):
            raise HpoGnError("must be a mapping of keys such as data, objective and budget")
        return _Reader(path, document).read()


@contextmanager
def said_of(path: Path) -> Iterator[None]:
    """Errors inside become SpecErrors, which name the file."""
    try:
        yield
    except HpoGnError as error:
        raise SpecError(f"{path}: {error}") from None


class _Reader:
    def __init__(self, path: Path, document: dict[Any, Any]) -> None:
        self._path, self._document = path, document

    def read(self) -> Spec:
        self._check_keys()
        trainings = "training" in self._document
        objectives = self._objectives()
        return Spec(
            path=self._path,
            name=self._name(),
            data=tuple(self._place(name) for name in self._names("data")),
            models=self._names("training" if trainings else "model"),
            trainings=trainings,
            objectives=objectives,
            searchers=self._names("searcher"),
            pruners=self._pruners(),
            seeds=self._seeds(),
            budget=self._document["budget"],
            retrainings=self._document.get("retrainings", _SEEDS),
            baseline=self._baseline([each.label for each in objectives]),
            table=self._file("table"),
            space=load_space(file) if (file := self._file("space")) else paper_space(),
            settings={key: self._document[key] for key in _OF_EXPERIMENT if key in self._document},
        )

    def _check_keys(self) -> None:
        document = self._document
        known = {*_AXES, *_RULES}
        for key in document:
            if key in _PRUNER_SETTINGS:
                raise HpoGnError(f"{key} must be given with its pruner, as {{name: give-up, {key}: …}}")
            if key not in known:
                raise UnknownNameError("key of a specification", str(key), known)
        for key in ("data", "objective", "searcher", "budget", "epochs"):
            if key not in document:
                raise HpoGnError(f"{key} is missing")
        if ("model" in document) == ("training" in document):
            raise HpoGnError("model must be there, unless training is, and not both")
        for key, (rule, holds) in _RULES.items():
            if key in ("budget", "epochs") and isinstance(document.get(key), list | dict):
                raise ArgumentError(key, f"{rule}: {ONE_BUDGET}", Shown(document[key]))
            if key in document and not holds(document[key]):
                raise ArgumentError(key, rule, Shown(document[key]))

    def _name(self) -> str:
        name = str(self._document.get("name", self._path.stem))
        if not _is_name(name):
            raise ArgumentError("name", _RULES["name"][0], Shown(name))
        return name

    def _names(self, key: str) -> tuple[str, ...]:
        return tuple(choice.name for choice in read_choices(key, self._document[key]))

    def _place(self, data: str) -> str:
        """A file of data is beside the specification, wherever the command is run."""
        return str((self._path.parent / data).absolute()) if data.endswith(".npz") else data

    def _objectives(self) -> tuple[Choice, ...]:
        return tuple(
            read_choices(
                "objective", self._document["objective"], lambda name: settings_of("objective", name)
            )
        )

    def _pruners(self) -> tuple[Choice, ...]:
        return tuple(read_choices("pruner", self._document.get("pruner", NO_PRUNER), _pruner_settings))

    def _seeds(self) -> tuple[int, ...]:
        given = self._document.get("seed", _SEEDS)
        seeds = list(range(given)) if isinstance(given, int) else given
        if len(set(seeds)) < len(seeds):
            raise ArgumentError("seed", "a list without repetitions", Shown(given))
        return tuple(seeds)

    def _baseline(self, objectives: list[str]) -> str:
        baseline = str(self._document.get("baseline", objectives[0]))
        if baseline not in objectives:
            raise UnknownNameError("objective of this specification", baseline, objectives)
        return baseline

    def _file(self, key: str) -> Path | None:
        return self._path.parent / self._document[key] if key in self._document else None


def _pruner_settings(name: str) -> tuple[str, ...]:
    load("pruner", name)
    return _PRUNER_SETTINGS


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_positive(value: Any) -> bool:
    return _is_integer(value) and 1 <= value < 2**31


def _is_share(value: Any) -> bool:
    return isinstance(value, float) and 0 < value < 1


def _is_seed(value: Any) -> bool:
    return _is_integer(value) and 0 <= value < 2**31


def _is_seeds(value: Any) -> bool:
    if isinstance(value, list):
        return len(value) > 0 and all(map(_is_seed, value))
    return _is_positive(value) and value <= MOST_SEEDS


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST and value.isprintable() and "/" not in value


_LONGEST = 100
MOST_SEEDS = 10_000

_Rule = tuple[str, Callable[[Any], bool]]
_POSITIVE: _Rule = ("a positive integer", _is_positive)
_SHARE: _Rule = ("a number above 0 and below 1", _is_share)
_BOOLEAN: _Rule = ("true or false", lambda value: isinstance(value, bool))
_FILE: _Rule = ("a file's name", lambda value: isinstance(value, str) and value != "")

_AXES = ("data", "model", "training", "objective", "searcher", "pruner")
_OF_EXPERIMENT: dict[str, _Rule] = {
    "epochs": _POSITIVE,
    "min_epochs": _POSITIVE,
    "eta": _POSITIVE,
    "round_size": _POSITIVE,
    "fraction": _SHARE,
    "validation_fraction": _SHARE,
    "from_scratch": _BOOLEAN,
    "charge": ("epochs or measures", lambda value: value in ("epochs", "measures")),
    "mixed_precision": _BOOLEAN,
    "channels_last": _BOOLEAN,
    "threads": _POSITIVE,
    "gpus": _POSITIVE,
}
_RULES: dict[str, _Rule] = {
    **_OF_EXPERIMENT,
    "name": (f"1 to {_LONGEST} printable characters without /", _is_name),
    "seed": (f"a number of seeds up to {MOST_SEEDS:,}, or a list of seeds", _is_seeds),
    "budget": _POSITIVE,
    "retrainings": _POSITIVE,
    "baseline": ("the name of an objective with its settings", lambda value: isinstance(value, str)),
    "space": _FILE,
    "table": _FILE,
}
