"""What a search would run, found by proposing its rounds on paper: nothing is trained, sampled or stored."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import optuna
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial, TrialState

from hpo_gn.books import Books
from hpo_gn.fidelity import continues, epochs_of
from hpo_gn.paper_books import PaperBooks, PaperHold, paper_study
from hpo_gn.rounds import Rounds, Rules
from hpo_gn.trial import Outcome


@dataclass(frozen=True)
class Planned:
    """One trial of a schedule.

    Args:
        epochs: its epochs, those of the trial that it continues included.
        runs: the epochs that it runs, and is charged.
        promoted: it takes the configuration of an earlier trial.
    """

    epochs: int
    runs: int
    promoted: bool


Round = tuple[Planned, ...]


@dataclass(frozen=True)
class Schedule:
    """The trials of a search, a round each, and what they cost in GPU×epochs."""

    rounds: tuple[Round, ...]
    spent: float

    @property
    def trials(self) -> list[Planned]:
        """Every trial, in the order of proposal."""
        return list(itertools.chain.from_iterable(self.rounds))


@dataclass(frozen=True)
class Simulation:
    """A search without its trainings.

    Its rounds are proposed by the code that proposes a search's. How many trials there are of how many epochs
    does not depend on their values, as long as none fails: a rung promotes as many whichever are best.

    Args:
        sampler: of the search. It is only asked for a trial's epochs, and not asked at all unless it assigns
            them.
        epochs: a trial's epochs, where the sampler does not assign them.
        round_size: trials a round.
        gpus: what an epoch costs.
        from_scratch: a promoted configuration is charged from its first epoch.
        resumable: whether a training can be continued; otherwise a promoted one runs all its epochs.
        measuring: what measuring adds to an epoch's price, as a share of it; None where it is not charged.
        value: of each trial.
    """

    sampler: BaseSampler
    epochs: int
    round_size: int
    gpus: int = 1
    from_scratch: bool = False
    resumable: bool = True
    measuring: float | None = None
    value: Callable[[FrozenTrial], float] = lambda _trial: 0.0

    def run(self, limit: int) -> Schedule:
        """The schedule that a budget of so many GPU×epochs gives."""
        kept = 2
        while (schedule := _Run(self, limit, kept).finish()) is None:
            kept *= 2
        return schedule


class _Run:
    """One run of a simulation. Where the schedule comes back to a state it was in, it repeats itself until
    the budget binds: all repetitions but some `kept` ones are copied instead of run.
    """

    def __init__(self, simulation: Simulation, limit: int, kept: int) -> None:
        assigns = hasattr(simulation.sampler, "next_assignment")
        # Whatever a sampler that assigns no epochs proposes, its trials cost alike.
        self._study = paper_study(simulation.sampler if assigns else RandomSampler())
        self._simulation, self._kept = simulation, kept
        self._state = getattr(simulation.sampler, "schedule_state", None) if assigns else _always_alike
        self._books = PaperBooks(limit)
        self._queue = Rounds(
            self._study,
            cast(Books, self._books),
            Rules({}, simulation.epochs, simulation.round_size, simulation.from_scratch),
            self._remaining,
            simulation.gpus,
            charge_measures=simulation.measuring is not None,
        )
        self._rounds: list[Round] = []
        self._seen: dict[object, tuple[int, float]] = {}
        self._due: list[Round] = []

    def finish(self) -> Schedule | None:
        """The schedule; None if the budget began to bind within what was copied."""
        while self._queue.advance():
            if not (planned := self._run_round()):
                continue
            self._rounds.append(planned)
            if self._due and planned != self._due.pop(0):
                return None
            if self._state is not None and len(planned) == self._simulation.round_size:
                self._skip(self._state(self._study))
        # A period that was run as it should after the copies was run with less left than any of them.
        return None if self._due else Schedule(tuple(self._rounds), self._books.spent)

    def _skip(self, state: object) -> None:
        if state not in self._seen:
            self._seen[state] = len(self._rounds), self._books.spent
            return
        began, spent = self._seen[state]
        period, cost = self._rounds[began:], self._books.spent - spent
        times = int(self._books.account().left / cost) - self._kept
        if times > 0:
            self._rounds += times * period
            self._books.spent += times * cost
            self._due = period
        self._state = None

    def _run_round(self) -> Round:
        ran = []
        while claim := self._queue.claim():
            self._pay(cast(PaperHold, claim.hold), self._remaining(claim.trial))
            self._queue.tell(claim.trial, Outcome(TrialState.COMPLETE, self._simulation.value(claim.trial)))
            epochs = epochs_of(claim.trial, self._simulation.epochs)
            promoted = continues(claim.trial) is not None
            ran.append(Planned(epochs, self._remaining(claim.trial), promoted))
        return tuple(ran)

    def _pay(self, hold: PaperHold, epochs: int) -> None:
        """An epoch takes a second on paper, and measuring its share of that."""
        hold.charge(epochs)
        hold.record(training_s=1.0, measuring_s=self._simulation.measuring or 0.0, epochs=epochs)
        hold.settle()

    def _remaining(self, trial: FrozenTrial) -> int:
        epochs, parent = epochs_of(trial, self._simulation.epochs), continues(trial)
        if parent is None or self._simulation.from_scratch or not self._simulation.resumable:
            return epochs
        return epochs - epochs_of(self._study.get_trials(deepcopy=False)[parent], self._simulation.epochs)


def _always_alike(_study: optuna.Study) -> object:
    return "alike"
