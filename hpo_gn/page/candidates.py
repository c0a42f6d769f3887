"""The objectives that are asked what they would have chosen on a study's trials."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from optuna.trial import FrozenTrial

from hpo_gn.errors import HpoGnError
from hpo_gn.experiment import make_objective
from hpo_gn.judging import least, values_of
from hpo_gn.objectives import Objective
from hpo_gn.page.study import StudyRead
from hpo_gn.registry import load, names

ALPHAS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
"""The weights of AGN that the objectives that take one are asked with."""
BASELINE = "val-loss"


@dataclass(frozen=True)
class Pick:
    """A trial, and the objectives that choose it.

    Args:
        trial: the trial.
        objectives: by name, with the weights of AGN where they have one.
    """

    trial: FrozenTrial
    objectives: Mapping[str, tuple[float, ...]]
    own: bool = False

    @property
    def label(self) -> str:
        """The objectives in one line."""
        return "; ".join(_label(name, alphas) for name, alphas in self.objectives.items())

    @property
    def baseline(self) -> bool:
        """Whether the validation loss alone chooses it."""
        return BASELINE in self.objectives


@dataclass(frozen=True)
class Picks:
    """What every objective chooses.

    Args:
        picks: one a trial, in the order of their objectives.
        own: what the study's own objective chooses; None where no trial can be chosen.
        skipped: objectives that cannot say, with the reason.
    """

    picks: tuple[Pick, ...] = ()
    own: FrozenTrial | None = None
    skipped: tuple[tuple[str, str], ...] = ()

    @property
    def baseline(self) -> Pick | None:
        """The validation loss's."""
        return next((pick for pick in self.picks if pick.baseline), None)

    @property
    def trials(self) -> list[int]:
        """Their numbers."""
        return [pick.trial.number for pick in self.picks]


@dataclass
class _Chosen:
    trial: FrozenTrial
    objectives: dict[str, list[float]] = field(default_factory=dict)


def picks(read: StudyRead) -> Picks:
    """What every registered objective chooses among a study's trials, with its defaults, gated where it can
    be, and with a range of weights where it has one.
    """
    if not read.judged:
        return Picks()
    chosen: dict[int, _Chosen] = {}
    skipped: dict[str, str] = {}
    for name, alpha, objective in _candidates(skipped):
        try:
            trial = best(objective, read)
        except HpoGnError as error:
            skipped[name] = str(error)
            continue
        mine = chosen.setdefault(trial.number, _Chosen(trial))
        mine.objectives.setdefault(name, []).extend([] if alpha is None else [alpha])
    own = _own(read)
    chosen.setdefault(own.number, _Chosen(own, {"this study's objective": []}))
    made = (
        Pick(each.trial, {name: tuple(alphas) for name, alphas in each.objectives.items()}, each.trial is own)
        for each in chosen.values()
    )
    return Picks(tuple(made), own, tuple(skipped.items()))


def best(objective: Objective, read: StudyRead) -> FrozenTrial:
    """The trial that an objective chooses, the earliest of equals; what is no number is worse than any.

    Raises:
        StudyError: a trial lacks a column that the objective reads, or it gives no trial a finite value.
    """
    values = values_of(objective, [read.histories[trial.number] for trial in read.judged])
    return least(values, read.judged)


def _own(read: StudyRead) -> FrozenTrial:
    return least([read.value(trial) for trial in read.judged], read.judged)


def _candidates(skipped: dict[str, str]) -> Iterator[tuple[str, float | None, Objective]]:
    """Each objective by its name, with the weight of AGN that it was given."""
    ordered = sorted(
        names("objective"), key=lambda name: (name != BASELINE, not name.startswith("val"), name)
    )
    for name in ordered:
        try:
            takes = inspect.signature(load("objective", name)).parameters
            for gated in (False, True) if "gated" in takes else (False,):
                shown = f"{name}, gated" if gated else name
                for alpha in ALPHAS if "alpha" in takes else (None,):
                    yield shown, alpha, make_objective(name, alpha=alpha, gated=gated or None)
        except (HpoGnError, ImportError, AttributeError, TypeError, ValueError) as error:
            skipped[name] = f"it cannot be made: {error}"


def _label(name: str, alphas: Sequence[float]) -> str:
    """A name with its weights, those that follow one another as a range."""
    if not alphas:
        return name
    first, last = ALPHAS.index(alphas[0]), ALPHAS.index(alphas[-1])
    if len(alphas) > 2 and tuple(alphas) == ALPHAS[first : last + 1]:
        return f"{name}, α = {alphas[0]:g} … {alphas[-1]:g}"
    return f"{name}, α = {', '.join(f'{alpha:g}' for alpha in alphas)}"
