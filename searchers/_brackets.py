"""BOHB's brackets of successive halving, read off the trials of a study."""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hpo_gn.errors import ArgumentError
from hpo_gn.pruning import GIVEN_UP

CLAIM = "hpo_gn:bohb_claim"
"""The system attribute that holds the slot which a trial fills."""

_Slots = Mapping[int, FrozenTrial]
_SlotsByRung = Mapping[tuple[int, int], _Slots]


@dataclass(frozen=True)
class _Filled:
    """What some trials fill.

    Args:
        trials: these.
        complete: how many brackets, from the first on, have all their slots filled by trials that finished.
        slots: the trial in each slot of each (bracket, rung), without those brackets.
    """

    trials: list[FrozenTrial] = field(default_factory=list)
    complete: int = 0
    slots: _SlotsByRung = field(default_factory=dict)


@dataclass(frozen=True)
class Claim:
    """One slot of the schedule, filled by one trial.

    Args:
        bracket: the bracket's index, from 0 and without end.
        rung: the rung's index within its bracket, from 0.
        slot: the slot's index within its rung; in a promoted rung, the rank of the configuration.
        parent: the number of the trial that is promoted into the slot, None for a new configuration.
    """

    bracket: int
    rung: int
    slot: int
    parent: int | None = None


@dataclass(frozen=True)
class Brackets:
    """The brackets of BOHB (Falkner et al. 2018, algorithm 1), whose only state is a study's trials.

    hpbandster's numbers, in integers: its float logarithms lose a rung of (1, 243, 3). Where
    `max_epochs / eta**k` is no integer, a rung's epochs are rounded to the nearest one.

    A rung is promoted when all its slots have finished; until then the next trial opens the next bracket.
    Trials that failed, or whose value is no finite number, are not promoted. hpbandster fills their places
    with new configurations at the higher budget; here the higher rung is smaller where too few are left.

    What the finished trials at the study's beginning fill is remembered, and read again where the trials at
    hand do not begin with the same ones.

    Args:
        min_epochs: the fewest epochs a configuration is trained.
        max_epochs: the most.
        eta: the factor between the epochs of two rungs, and the part of a rung that is not promoted.

    Raises:
        ArgumentError: not 1 <= min_epochs <= max_epochs, or eta < 2, or one is not an integer.
    """

    min_epochs: int
    max_epochs: int
    eta: int
    _known: _Filled = field(default_factory=_Filled, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_integer("max_epochs", self.max_epochs, 1, None)
        _check_integer("min_epochs", self.min_epochs, 1, self.max_epochs)
        _check_integer("eta", self.eta, 2, None)

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy is sent without the trials that are remembered."""
        return Brackets, (self.min_epochs, self.max_epochs, self.eta)

    @cached_property
    def rungs(self) -> tuple[int, ...]:
        """The epochs of the longest bracket's rungs, rising to `max_epochs`."""
        divisors = itertools.takewhile(
            lambda divisor: self.min_epochs * divisor <= self.max_epochs,
            (self.eta**k for k in itertools.count()),
        )
        rounded = [(2 * self.max_epochs + divisor) // (2 * divisor) for divisor in divisors]
        return tuple(reversed(rounded))

    def sizes(self, bracket: int) -> tuple[int, ...]:
        """The slots of each rung of a bracket, whose last rung trains for `max_epochs`."""
        count = len(self.rungs)
        halvings = count - 1 - bracket % count
        first = count // (halvings + 1) * self.eta**halvings
        return tuple(first // self.eta**i for i in range(halvings + 1))

    def epochs(self, claim: Claim) -> int:
        """The epochs for which a slot's trial trains, those of its parent included."""
        return self.rungs[claim.rung - len(self.sizes(claim.bracket))]

    def cost(self, claim: Claim, *, from_scratch: bool) -> int:
        """The epochs that a slot's trial runs: with a parent and not from scratch, those it adds."""
        done = 0 if from_scratch or not claim.rung else self.epochs(replace(claim, rung=claim.rung - 1))
        return self.epochs(claim) - done

    def fits(
        self,
        claim: Claim,
        trials: Iterable[FrozenTrial],
        direction: StudyDirection,
        epochs_left: int,
        *,
        from_scratch: bool,
    ) -> bool:
        """Whether to fill the next slot with so many epochs left.

        The slot must fit, and one that opens a bracket must leave what open brackets still need, with room
        for its own; where they need nothing more, the rest is spent as far as it goes.
        """
        filled = self._filled(trials)
        slots, opened = filled.slots, {bracket for bracket, _ in filled.slots}
        own = self.cost(claim, from_scratch=from_scratch)
        if claim.bracket < filled.complete or claim.bracket in opened or own > epochs_left:
            return own <= epochs_left
        promised = sum(self._epochs_to_come(b, slots, direction, from_scratch) for b in opened)
        whole = self._epochs_to_come(claim.bracket, slots, direction, from_scratch)
        return not promised or promised + whole <= epochs_left

    def next_claim(self, trials: Iterable[FrozenTrial], direction: StudyDirection, *, fresh: bool) -> Claim:
        """The slot that the next trial fills: the first open one of the earliest bracket that has one.

        Args:
            trials: every trial of the study but the next one, by number.
            direction: the study's direction.
            fresh: whether the trial brings its own configuration, so that it cannot be a promotion.
        """
        filled = self._filled(trials)
        brackets = itertools.count(filled.complete)
        found = (self._open_slot(bracket, filled.slots, direction, fresh) for bracket in brackets)
        return next(claim for claim in found if claim is not None)

    def unfinished(self, trials: Sequence[FrozenTrial]) -> Sequence[FrozenTrial]:
        """A study's trials from the first on that has not finished."""
        return trials[len(self._known_of(list(trials)).trials) :]

    def state(self, trials: Iterable[FrozenTrial], direction: StudyDirection) -> tuple[object, ...]:
        """What the slots to come depend on beside the values of trials, as long as none fails."""
        filled = self._filled(trials)
        slots = filled.slots
        following = 1 + max((bracket for bracket, _ in slots), default=filled.complete - 1)
        begun = (
            (following - bracket, [len(filled) for _, filled in self._known_rungs(bracket, slots, direction)])
            for bracket in range(filled.complete, following)
            if self._epochs_to_come(bracket, slots, direction, from_scratch=True)
        )
        return following % len(self.rungs), *((back, *filled) for back, filled in begun)

    def claim_of(self, trial: FrozenTrial) -> Claim | None:
        """The slot that a trial fills; None if it fills none, or one of another schedule or another trial."""
        written = dict(trial.system_attrs.get(CLAIM, {}))
        if written.pop("trial", None) != trial.number or written.pop("schedule") != self._settings:
            return None
        return Claim(**written)

    def as_json(self, claim: Claim, trial: FrozenTrial) -> dict[str, Any]:
        """What `claim_of` reads, to be stored with the trial."""
        return {"trial": trial.number, "schedule": self._settings, **asdict(claim)}

    @property
    def _settings(self) -> list[int]:
        return [self.min_epochs, self.max_epochs, self.eta]

    def _filled(self, trials: Iterable[FrozenTrial]) -> _Filled:
        """What trials fill. Those at the beginning that have finished, and so never change, are read once."""
        trials = list(trials)
        known = self._known_of(trials)
        return self._with(known, trials[len(known.trials) :])

    def _known_of(self, trials: list[FrozenTrial]) -> _Filled:
        """What the finished trials at the beginning fill."""
        known = self._known
        if trials[: len(known.trials)] != known.trials:
            known = _Filled()
        rest = trials[len(known.trials) :]
        if finished := list(itertools.takewhile(lambda trial: trial.state.is_finished(), rest)):
            known = self._without_complete(self._with(known, finished))
            object.__setattr__(self, "_known", known)
        return known

    def _with(self, filled: _Filled, trials: Sequence[FrozenTrial]) -> _Filled:
        """What trials of higher numbers fill in addition.

        Two processes that ask in one instant may claim one slot: the trial with the lower number fills it.
        """
        slots = {rung: dict(in_rung) for rung, in_rung in filled.slots.items()}
        everything = [*filled.trials, *trials]
        for trial in trials:
            if (claim := self.claim_of(trial)) is None:
                continue
            if claim.bracket < filled.complete:
                return self._with(_Filled(), everything)
            slots.setdefault((claim.bracket, claim.rung), {}).setdefault(claim.slot, trial)
        return _Filled(everything, filled.complete, slots)

    def _without_complete(self, filled: _Filled) -> _Filled:
        """The same of trials that all have finished, without the slots of brackets that are complete."""
        complete = filled.complete
        while self._is_complete(complete, filled.slots):
            complete += 1
        slots = {rung: in_rung for rung, in_rung in filled.slots.items() if rung[0] >= complete}
        return _Filled(filled.trials, complete, slots)

    def _is_complete(self, bracket: int, slots: _SlotsByRung) -> bool:
        """Whether trials that all have finished fill exactly the slots of a bracket."""
        # How many are promoted is the same in both directions.
        known = self._known_rungs(bracket, slots, StudyDirection.MINIMIZE)
        return all(filled.keys() == set(range(len(entrants))) for entrants, filled in known)

    def _open_slot(
        self, bracket: int, slots: _SlotsByRung, direction: StudyDirection, fresh: bool
    ) -> Claim | None:
        for rung, (entrants, filled) in enumerate(self._known_rungs(bracket, slots, direction)):
            for slot, parent in enumerate(entrants):
                if slot not in filled and not (fresh and rung):
                    return Claim(bracket, rung, slot, parent)
        return None

    def _known_rungs(
        self, bracket: int, slots: _SlotsByRung, direction: StudyDirection
    ) -> Iterator[tuple[Sequence[int | None], _Slots]]:
        """What enters each rung and which slots are filled, up to the first rung that is not finished."""
        first, *later = self.sizes(bracket)
        entrants: Sequence[int | None] = [None] * first
        for rung, promoted in enumerate([*later, 0]):
            filled = slots.get((bracket, rung), {})
            yield entrants, filled
            finished = all(trial.state.is_finished() for trial in filled.values())
            if not finished or len(filled) < len(entrants):
                return
            kept = [trial for trial in filled.values() if not given_up(trial)]
            best = [trial.number for trial in ranked(kept, direction)]
            entrants = self._entrants(best, promoted, slots.get((bracket, rung + 1), {}))

    def _entrants(self, best: Sequence[int], promoted: int, filled: _Slots) -> list[int | None]:
        """Who enters a rung: whoever was promoted into a slot, and the best of the others into the open ones.
        Values among all trials may have changed since a slot was filled.
        """
        claims = {slot: self.claim_of(trial) for slot, trial in filled.items()}
        taken = {slot: claim.parent for slot, claim in claims.items() if claim is not None}
        others = (number for number in best if number not in taken.values())
        return [taken[slot] if slot in taken else next(others) for slot in range(min(promoted, len(best)))]

    def _epochs_to_come(
        self, bracket: int, slots: _SlotsByRung, direction: StudyDirection, from_scratch: bool
    ) -> int:
        """The epochs of a bracket's slots that no trial fills yet, if every trial to come survives."""
        known = [
            (len(entrants), len(filled)) for entrants, filled in self._known_rungs(bracket, slots, direction)
        ]
        sizes = self.sizes(bracket)
        missing = [entrants - filled for entrants, filled in known]
        missing += [min(known[-1][0], size) for size in sizes[len(known) :]]
        costs = [self.cost(Claim(bracket, rung, 0), from_scratch=from_scratch) for rung in range(len(sizes))]
        return sum(count * cost for count, cost in zip(missing, costs, strict=True))


def ranked(trials: Iterable[FrozenTrial], direction: StudyDirection) -> list[FrozenTrial]:
    """The finished trials that have a finite value, best first; of equal ones, the earlier. Those that were
    given up come last: a value of fewer epochs may look better than it is.
    """
    sign = -1.0 if direction is StudyDirection.MAXIMIZE else 1.0
    valued = [(value, trial) for trial in trials if (value := finite_value(trial)) is not None]
    order = sorted(valued, key=lambda pair: (given_up(pair[1]), sign * pair[0], pair[1].number))
    return [trial for _, trial in order]


def given_up(trial: FrozenTrial) -> bool:
    """Whether a search's pruner stopped the trial before its epochs were over."""
    return trial.state == TrialState.PRUNED and GIVEN_UP in trial.user_attrs


def finite_value(trial: FrozenTrial) -> float | None:
    """The value of a completed or pruned trial; None if it is not finite, has none, or the trial failed."""
    if trial.state not in (TrialState.COMPLETE, TrialState.PRUNED) or not trial.values:
        return None
    return trial.values[0] if math.isfinite(trial.values[0]) else None


def _check_integer(name: str, value: object, low: int, high: int | None) -> None:
    if type(value) is not int or value < low or (high is not None and value > high):
        rule = f"an integer of at least {low}" if high is None else f"an integer from {low} to {high}"
        raise ArgumentError(name, rule, value)
