"""A training, a measure and an objective that misbehave: the table WHAT goes wrong × WHERE, one cell a
configuration.
"""

import errno
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import optuna
import torch
from ConfigSpace import ConfigurationSpace
from torch import Tensor, nn

from hpo_gn import Experiment
from hpo_gn.data import DataSet
from hpo_gn.errors import ArgumentError, BudgetExhaustedError, CheckpointError, NonFiniteError

EPOCHS_EACH = 3
ROUND_SIZE = 8
BEGAN: Counter[int] = Counter()
"""Epochs that each cell's training began, counted by the training itself."""


Deed = Callable[[Any], Any]
"""What happens in place of the usual: (usual) → what is given instead."""


class UnreadableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class OwnBaseError(BaseException):
    pass


def raising(error: BaseException) -> Deed:
    def deed(*_usual: Any) -> Any:
        raise error

    return deed


def recursing(usual: Any) -> Any:
    return recursing(usual)


RAISED: dict[str, tuple[Deed, str]] = {
    "ValueError": (raising(ValueError("no\nsuch\tthing")), "ValueError: no such thing"),
    "KeyError": (raising(KeyError("a\nb")), r"KeyError: 'a\nb'"),
    "odd text": (raising(ValueError("[/red]\0\ud800 {0} %s\x1b[2J")), "ValueError: [/red]�� {0} %s�[2J"),
    "no text": (raising(ValueError()), "ValueError"),
    "no readable text": (raising(UnreadableError()), "UnreadableError: (a message that cannot be read)"),
    "a long text": (raising(ValueError("x" * 10**6)), f"ValueError: {'x' * 287}…"),
    "StopIteration": (raising(StopIteration(3)), "StopIteration: 3"),
    "RecursionError": (recursing, "RecursionError: maximum recursion depth exceeded"),
    "MemoryError": (raising(MemoryError()), "MemoryError"),
    "OSError": (
        raising(OSError(errno.ENOENT, "No such file", "x")),
        "FileNotFoundError: [Errno 2] No such",
    ),
    "SystemExit(0)": (raising(SystemExit(0)), "SystemExit: 0"),
    "SystemExit(text)": (raising(SystemExit("bye")), "SystemExit: bye"),
    "GeneratorExit": (raising(GeneratorExit()), "GeneratorExit"),
    "a BaseException": (raising(OwnBaseError("mine")), "OwnBaseError: mine"),
    "ArgumentError": (raising(ArgumentError("width", "even", 3)), "ArgumentError: width must be even, got 3"),
    "BudgetError": (raising(BudgetExhaustedError("broke")), "BudgetExhaustedError: broke"),
    "CheckpointError": (raising(CheckpointError("lost")), "CheckpointError: lost"),
    "TrialPruned": (raising(optuna.TrialPruned("dull")), "TrialPruned: dull"),
}
EVERYWHERE = ("ValueError", "odd text", "no readable text", "SystemExit(0)", "GeneratorExit", "ArgumentError")
"""Those that are tried wherever code of the user's runs."""
THOROUGHLY = ("run_epoch", "objective")
"""Where every one is tried."""
NUMBER = "the objective must give a number, got "
OBJECTIVES: dict[str, tuple[Deed, str]] = {
    "nan": (lambda _: float("nan"), "diverged at epoch {}: objective is nan"),
    "inf": (lambda _: float("inf"), "diverged at epoch {}: objective is inf"),
    "-inf": (lambda _: float("-inf"), "diverged at epoch {}: objective is -inf"),
    "numpy's nan": (lambda _: np.float32("nan"), "diverged at epoch {}: objective is nan"),
    "a tensor of -inf": (lambda _: torch.tensor(-torch.inf), "diverged at epoch {}: objective is -inf"),
    "text": (lambda _: "low", f"{NUMBER}'low'"),
    "a number as text": (lambda _: "-0.5", f"{NUMBER}'-0.5'"),
    "a list": (lambda _: [-1.0], f"{NUMBER}[-1.0]"),
    "a complex number": (lambda _: -1j, f"{NUMBER}(-0-1j)"),
    "numpy's complex number": (lambda _: np.complex64(-1j), NUMBER),
    "two elements": (lambda _: torch.tensor([-1.0, -2.0]), f"{NUMBER}tensor([-1., -2.])"),
    "an array": (lambda _: np.array([-1.0, -2.0]), f"{NUMBER}array([-1., -2.])"),
    "a boolean": (lambda _: False, f"{NUMBER}False"),
    "numpy's boolean": (lambda _: np.False_, NUMBER),
    "too large an integer": (lambda _: -(10**400), f"{NUMBER}-1000"),
    "an object": (lambda _: object(), f"{NUMBER}<object objec"),
}  # fmt: skip
MEASURES: dict[str, tuple[Deed, str]] = {
    "nan": (lambda _: float("nan"), "diverged at epoch {}: value is nan"),
    "-inf": (lambda _: float("-inf"), "diverged at epoch {}: value is -inf"),
    "None": (lambda _: None, "TypeError: float() argument must be"),
    "text": (lambda _: "low", "ValueError: could not convert string to float: 'low'"),
    "a list": (lambda _: [1.0], "TypeError: float() argument must be"),
    "a complex number": (lambda _: 1j, "TypeError: float() argument must be"),
    "two elements": (lambda _: torch.zeros(2), "ValueError: only one element tensors can be"),
    "no number": (raising(NonFiniteError("layer '3' is not finite")), "diverged at epoch {}: layer '3' is"),
}
STATES: dict[str, tuple[Deed, str]] = {
    "None": (lambda _: None, "state_dict must give a mapping, got None"),
    "text": (lambda _: "state", "state_dict must give a mapping, got 'state'"),
    "a list": (lambda _: [1, 2], "state_dict must give a mapping, got [1, 2]"),
    "a function": (lambda _: {"decay": lambda: 1}, "AttributeError: Can't pickle"),
}
LOSSES: dict[str, tuple[Deed, str]] = {
    "nan": (lambda usual: usual * torch.nan, "diverged at epoch {}: value is nan"),
    "a mean": (lambda _: torch.zeros(()), "ModelError: loss must give one number a sample"),
    "None": (lambda _: None, "AttributeError: 'NoneType' object has no attribute"),
}
FORWARDS: dict[str, tuple[Deed, str]] = {
    "nan": (lambda usual: usual * torch.nan, "diverged at epoch {}: value is nan"),
    "inf": (lambda usual: usual + torch.inf, "diverged at epoch {}: value is nan"),
    "None": (lambda _: None, "ModelError"),
    "text": (lambda _: "logits", "ModelError"),
}
WHERE: dict[str, dict[str, tuple[Deed, str]]] = {
    "constructor": {"None": (lambda _: None, "AttributeError: 'NoneType' object has no attribute 'model'")},
    "run_epoch": {},
    "state_dict": STATES,
    "loss": LOSSES,
    "forward": FORWARDS,
    "measure": MEASURES,
    "objective": OBJECTIVES,
}


@dataclass(frozen=True)
class Cell:
    where: str
    what: str
    deed: Deed
    reason: str
    epoch: int

    @property
    def began(self) -> int:
        # A training that cannot be made has begun no epoch; None in its place shows in the first.
        return 0 if self.where == "constructor" and self.what != "None" else self.epoch

    def __str__(self) -> str:
        return f"{self.where}-{self.what}-{self.epoch}"


def cells() -> Iterator[Cell]:
    for where, own in WHERE.items():
        raised = {what: RAISED[what] for what in (RAISED if where in THOROUGHLY else EVERYWHERE)}
        for number, (what, (deed, reason)) in enumerate((own | raised).items()):
            epoch = 1 + number % 2 if where != "constructor" else 1
            yield Cell(where, what, deed, reason.replace("{}", str(epoch)), epoch)
    # Before the end None says that there is nothing to report yet.
    yield Cell("objective", "None", lambda _: None, f"{NUMBER}None", EPOCHS_EACH)


CELLS = list(cells())
GOOD = len(CELLS)
"""The configuration in which nothing goes wrong."""


class Misbehaving(nn.Module):
    def __init__(self, cell: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))
        self.cell, self.epoch = cell, 0

    def act(self, where: str, usual: Any) -> Any:
        if self.cell != GOOD and (CELLS[self.cell].where, CELLS[self.cell].epoch) == (where, self.epoch):
            return CELLS[self.cell].deed(usual)
        return usual

    def forward(self, inputs: Tensor) -> Tensor:
        return self.act("forward", inputs.flatten(1)[:, :2] + self.weight)  # type: ignore[no-any-return]


class Training:
    def __init__(self, config: Mapping[str, Any], splits: Any, *, epochs: int, seed: int) -> None:
        self.model = Misbehaving(config["cell"])

    def run_epoch(self) -> None:
        BEGAN[self.model.cell] += 1
        self.model.epoch += 1
        self.model.act("run_epoch", None)

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        return self.model.act("loss", nn.functional.cross_entropy(logits, targets, reduction="none"))  # type: ignore[no-any-return]

    def state_dict(self) -> dict[str, Any]:
        return self.model.act("state_dict", {"epoch": self.model.epoch})  # type: ignore[no-any-return]

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.model.epoch = state["epoch"]


def build(config: Mapping[str, Any], splits: Any, **rest: Any) -> Any:
    cell = CELLS[config["cell"]] if config["cell"] != GOOD else None
    return cell.deed(None) if cell and cell.where == "constructor" else Training(config, splits, **rest)


class Value:
    """Columns `cell` and `value`, the mean loss."""

    split = "validation"

    def __init__(self) -> None:
        self._losses: list[Tensor] = []
        self._model: Any = None

    def update(self, batch: Any) -> None:
        self._losses.append(batch.losses)
        self._model = batch.model

    def compute(self) -> dict[str, Any]:
        losses, self._losses = self._losses, []
        usual = torch.cat(losses).mean().item()
        return {"cell": self._model.cell, "value": self._model.act("measure", usual)}


class Objective:
    measures = (Value(),)

    def __call__(self, history: Any) -> Any:
        cell = int(history.last("cell"))
        if cell != GOOD and CELLS[cell].where == "objective" and CELLS[cell].epoch == len(history):
            return CELLS[cell].deed(None)
        return history.last("value")

    def __repr__(self) -> str:
        return "Objective()"


def read(_split: str) -> tuple[Tensor, Tensor]:
    targets = torch.arange(60) % 2
    return nn.functional.one_hot(targets, 2).float(), targets


def experiment(**changes: Any) -> Experiment:
    settings: dict[str, Any] = {
        "data": DataSet("dots", 2, read),
        "space": ConfigurationSpace({"cell": (0, GOOD)}),
        "objective": Objective(),
        "training": build,
        "searcher": "random",
        "epochs": EPOCHS_EACH,
        "round_size": ROUND_SIZE,
    }
    return Experiment(**settings | changes)
