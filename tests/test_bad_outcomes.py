"""Whatever goes wrong in a trial's own code ends that trial, with a reason, and nothing else.

One study holds a trial for each cell of the table WHAT goes wrong × WHERE, in rounds that have a good trial
each, and one worker runs them all. The budget is exact: if a failed trial kept an epoch, the last could not
start.
"""

import errno
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch
from ConfigSpace import ConfigurationSpace
from optuna.trial import FrozenTrial, TrialState
from torch import Tensor, nn

from hpo_gn import Experiment, History, Ledger
from hpo_gn.budget.statement import Statement
from hpo_gn.checkpoint import Checkpoints
from hpo_gn.data import DataSet
from hpo_gn.database_url import sqlite_url
from hpo_gn.errors import ArgumentError, BudgetExhaustedError, CheckpointError, NonFiniteError
from hpo_gn.fidelity import EPOCHS
from hpo_gn.retraining import find_winner
from hpo_gn.rounds import ROUND, ROUNDS
from hpo_gn.studies import open_study
from hpo_gn.trial import ERROR, REASON, TRACEBACK
from hpo_gn.worker import Place, Worker

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


def prepare(
    folder: Path, configurations: list[int], limit: int, **changes: Any
) -> tuple[Place, optuna.Study]:
    """A study with a trial of each configuration that waits for a worker."""
    place = Place(sqlite_url(folder / "study.db"), "s", Checkpoints(folder / "checkpoints"))
    study = open_study(place, experiment(**changes))
    for number, configuration in enumerate(configurations):
        trial = optuna.trial.create_trial(
            state=TrialState.RUNNING,
            params={"cell": configuration},
            distributions=experiment().distributions,
            user_attrs={EPOCHS: EPOCHS_EACH, ROUND: 1 + number // ROUND_SIZE},
        )
        study.add_trial(trial)
    study.set_user_attr(ROUNDS, 1)
    Ledger(place.storage, place.study, limit=limit).close()
    return place, study


def work(place: Place, **changes: Any) -> Statement:
    """Let a worker run what there is, and ask the ledger what it cost."""
    ledger = Ledger(place.storage, place.study)
    try:
        Worker(experiment(**changes), place, torch.device("cpu")).run()
    finally:
        statement = ledger.statement()
        ledger.close()
    return statement


@dataclass(frozen=True)
class Ran:
    study: optuna.Study
    trials: list[FrozenTrial]
    statement: Statement

    def of(self, cell: int) -> FrozenTrial:
        return next(trial for trial in self.trials if trial.params["cell"] == cell)

    def spent(self, trial: FrozenTrial) -> float:
        return sum(entry.spent for entry in self.statement.trials if entry.trial == trial.number)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Every cell's trial, and a good one at the end of each round."""
    configurations = []
    for cell in range(len(CELLS)):
        configurations += [GOOD, cell] if len(configurations) % ROUND_SIZE == ROUND_SIZE - 1 else [cell]
    configurations += [GOOD]
    BEGAN.clear()
    needed = sum(EPOCHS_EACH if each == GOOD else CELLS[each].began for each in configurations)
    place, study = prepare(tmp_path_factory.mktemp("cells"), configurations, needed + EPOCHS_EACH - 1)
    statement = work(place)
    return Ran(study, study.get_trials(), statement)


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> FrozenTrial:
    """A good trial of a study in which nothing else happens."""
    place, study = prepare(tmp_path_factory.mktemp("usual"), [GOOD], EPOCHS_EACH)
    work(place)
    return study.get_trials()[0]


def test_there_are_cells_enough() -> None:
    assert len(CELLS) >= 40
    assert len({str(cell) for cell in CELLS}) == len(CELLS)


@pytest.mark.parametrize("number", range(len(CELLS)), ids=[str(cell) for cell in CELLS])
def test_a_bad_trial_ends_with_a_reason_and_gives_back_what_it_did_not_use(ran: Ran, number: int) -> None:
    cell, trial = CELLS[number], ran.of(number)
    pruned = cell.what == "TrialPruned"
    assert trial.state == (TrialState.PRUNED if pruned else TrialState.FAIL)
    reason = trial.user_attrs[REASON]
    assert reason.startswith(cell.reason)
    assert len(reason) <= 300
    assert reason.isprintable()
    diverged = reason.startswith("diverged")
    assert trial.user_attrs.get(ERROR, reason) == reason
    assert (ERROR in trial.user_attrs) == (not pruned and not diverged)
    assert (ran.spent(trial), BEGAN[number]) == (cell.began, cell.began if cell.where != "constructor" else 0)


def test_an_exception_leaves_its_traceback(ran: Ran) -> None:
    cell = next(number for number, cell in enumerate(CELLS) if cell.what == "ValueError")
    assert "ValueError: no\nsuch\tthing" in ran.of(cell).user_attrs[TRACEBACK]
    assert "in deed" in ran.of(cell).user_attrs[TRACEBACK]
    assert all(len(trial.user_attrs.get(TRACEBACK, "")) <= 20_000 for trial in ran.trials)


def test_the_good_trials_among_them_are_as_ever(ran: Ran, usual: FrozenTrial) -> None:
    good = [trial for trial in ran.trials if trial.params["cell"] == GOOD]
    assert len(good) > 10
    for trial in good:
        assert (trial.state, trial.value) == (TrialState.COMPLETE, usual.value)
        assert trial.intermediate_values == usual.intermediate_values
        assert History.of(trial) == History.of(usual)
        assert REASON not in trial.user_attrs
        assert ran.spent(trial) == EPOCHS_EACH


def test_none_of_them_wins(ran: Ran) -> None:
    assert find_winner(ran.study).params["cell"] == GOOD
    assert ran.study.best_trial.params["cell"] == GOOD


def test_nothing_stays_held(ran: Ran) -> None:
    account = ran.statement.account
    assert (account.held, account.spent) == (0, account.limit - EPOCHS_EACH + 1)
    assert len(ran.trials) == len(ran.statement.trials)


def test_ctrl_c_is_the_users(tmp_path: Path) -> None:
    """It stops the worker wherever it comes, and its trial goes on another time."""

    class Stopped(Training):
        times = 0

        def run_epoch(self) -> None:
            super().run_epoch()
            Stopped.times += 1
            if Stopped.times == 2:
                raise KeyboardInterrupt

    place, study = prepare(tmp_path, [GOOD], limit=EPOCHS_EACH + 2, training=Stopped)
    with pytest.raises(KeyboardInterrupt):
        work(place, training=Stopped)
    assert study.get_trials()[0].state == TrialState.RUNNING
    statement = work(place, training=Stopped)
    assert study.get_trials()[0].state == TrialState.COMPLETE
    # The second epoch began twice, and goes on from the first one's checkpoint.
    assert (statement.account.held, statement.account.spent, Stopped.times) == (0, 4, 4)


LOADED = {what: RAISED[what] for what in ("ValueError", "no text", "SystemExit(0)")}


@pytest.mark.parametrize("what", LOADED)
def test_a_state_that_is_not_taken_back_stops_the_search_and_spends_nothing(
    tmp_path: Path, what: str
) -> None:
    """The trainings were changed since; failing trial after trial would spend the budget on it."""
    deed, reason = LOADED[what]
    place, study = prepare(tmp_path, [GOOD], limit=EPOCHS_EACH)
    Worker(experiment(), place, torch.device("cpu")).run(interrupted_after(2))

    class Changed(Training):
        def load_state_dict(self, state: Mapping[str, Any]) -> None:
            deed(state)

    with pytest.raises(CheckpointError) as caught:
        work(place, training=Changed)
    assert str(caught.value) == f"the checkpoint of trial 0 is of another model: {reason}"
    statement = work(place)
    assert (statement.account.spent, statement.account.held) == (EPOCHS_EACH, 0)
    assert study.get_trials()[0].state == TrialState.COMPLETE


def interrupted_after(asked: int) -> Callable[[], bool]:
    """False until it is asked for that many times."""
    times = iter(range(1, asked))
    return lambda: next(times, None) is None


def test_a_checkpoint_that_cannot_be_written_is_warned_of_once_and_the_trial_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A search of days must not end because the disk was full for an hour."""
    place, study = prepare(tmp_path, [GOOD], limit=EPOCHS_EACH)
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr("hpo_gn.local_files.LocalFiles.write", raising(full))
    with pytest.warns(UserWarning, match="No space left on device; the trial goes on without") as warned:
        statement = work(place)
    assert len(warned) == 1
    assert re.match(r"checkpoint epoch-1\.pt of trial-0 cannot be written: ", str(warned[0].message))
    assert study.get_trials()[0].state == TrialState.COMPLETE
    assert (statement.account.spent, statement.account.held) == (EPOCHS_EACH, 0)


def test_a_search_in_which_nothing_gives_a_number_stops_after_a_round(tmp_path: Path) -> None:
    cell = next(
        number for number, cell in enumerate(CELLS) if cell.what == "text" and cell.where == "objective"
    )
    place, _ = prepare(tmp_path, [cell, cell], limit=100)
    with pytest.raises(
        Exception, match=f"^every trial of the last round failed, the first with {NUMBER}'low'$"
    ):
        work(place)
