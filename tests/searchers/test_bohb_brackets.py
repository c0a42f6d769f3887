"""The schedule of brackets against plain arithmetic and hpbandster's own formula and successive halving."""

import copy
import itertools
import math
import pickle
import random
from collections import defaultdict
from collections.abc import Iterator
from fractions import Fraction
from importlib.util import find_spec
from itertools import pairwise

import optuna
import pytest
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from hpo_gn.errors import ArgumentError
from hpo_gn.searchers._brackets import CLAIM, Brackets, Claim, _Filled

MINIMIZE = StudyDirection.MINIMIZE
TRIPLES = [
    (40, 160, 2),
    (2, 8, 2),
    (1, 243, 3),
    (3, 100, 3),
    (1, 7, 2),
    (5, 5, 2),
    (1, 1, 4),
    (9, 10, 2),
    (2, 81, 4),
]


def make_trial(
    number: int, claim: Claim, brackets: Brackets, value: float | None, state: TrialState
) -> FrozenTrial:
    trial = optuna.create_trial(state=state, value=0.0 if state is TrialState.COMPLETE else None)
    trial.values = None if value is None else [value]
    trial.number = number
    trial.system_attrs = {CLAIM: brackets.as_json(claim, trial)}
    return trial


def play(brackets: Brackets, losses: Iterator[float | None]) -> Iterator[tuple[Claim, FrozenTrial]]:
    """Trials one after another, each finished with the next loss before the next starts; None fails it."""
    trials: list[FrozenTrial] = []
    for loss in losses:
        claim = brackets.next_claim(trials, MINIMIZE, fresh=False)
        state = TrialState.FAIL if loss is None else TrialState.COMPLETE
        trials.append(make_trial(len(trials), claim, brackets, loss, state))
        yield claim, trials[-1]


def plain_sweep(min_epochs: int, max_epochs: int, eta: int) -> list[list[tuple[int, int]]]:
    """Every (slots, epochs) of every bracket of one sweep, by exact fractions."""
    levels = []
    epochs = Fraction(max_epochs)
    while epochs >= min_epochs:
        levels.append(math.floor(epochs + Fraction(1, 2)))
        epochs /= eta
    sweep = []
    for halvings in reversed(range(len(levels))):
        slots = math.floor(Fraction(len(levels), halvings + 1)) * eta**halvings
        bracket = []
        for level in reversed(levels[: halvings + 1]):
            bracket.append((slots, level))
            slots = max(slots // eta, 1)
        sweep.append(bracket)
    return sweep


def test_the_papers_sweep() -> None:
    brackets = Brackets(40, 160, 2)
    assert brackets.rungs == (40, 80, 160)
    assert [brackets.sizes(bracket) for bracket in range(4)] == [(4, 2, 1), (2, 1), (3,), (4, 2, 1)]


def test_the_papers_budget_makes_exactly_this_schedule() -> None:
    brackets = Brackets(40, 160, 2)
    sweep = (
        [(0, 0, 40)] * 4
        + [(0, 1, 80)] * 2
        + [(0, 2, 160)]
        + [(1, 0, 80)] * 2
        + [(1, 1, 160)]
        + [(2, 0, 160)] * 3
    )
    played = [claim for claim, _ in play(brackets, iter([0.5] * 52))]
    expected = [(bracket + 3 * i, rung, epochs) for i in range(4) for bracket, rung, epochs in sweep]
    assert [(claim.bracket, claim.rung, brackets.epochs(claim)) for claim in played] == expected
    assert sum(brackets.epochs(claim) for claim in played) == 5120
    assert sum(claim.parent is None for claim in played) == 36


@pytest.mark.parametrize("settings", TRIPLES)
def test_schedules_equal_plain_arithmetic(settings: tuple[int, int, int]) -> None:
    brackets = Brackets(*settings)
    expected = [
        (bracket, rung, epochs)
        for bracket, rungs in enumerate(plain_sweep(*settings))
        for rung, (slots, epochs) in enumerate(rungs)
        for _ in range(slots)
    ]
    played = [claim for claim, _ in play(brackets, (i % 7 for i in range(len(expected))))]
    assert [(claim.bracket, claim.rung, brackets.epochs(claim)) for claim in played] == expected


@pytest.mark.parametrize(("low", "high", "eta"), [(40, 160, 2), (1, 81, 3), (1, 16, 2), (9, 27, 3)])
def test_sizes_equal_hpbandsters_formula_where_its_floats_hold(low: int, high: int, eta: int) -> None:
    iterations = -int(math.log(low / high) / math.log(eta)) + 1
    brackets = Brackets(low, high, eta)
    assert len(brackets.rungs) == iterations
    for bracket in range(iterations):
        s = iterations - 1 - bracket % iterations
        first = int(math.floor(iterations / (s + 1)) * eta**s)
        assert brackets.sizes(bracket) == tuple(max(int(first * eta ** (-i)), 1) for i in range(s + 1))


def test_243_epochs_start_at_1_where_float_logarithms_start_at_3() -> None:
    assert -int(math.log(1 / 243) / math.log(3)) + 1 == 5
    assert Brackets(1, 243, 3).rungs == (1, 3, 9, 27, 81, 243)


@pytest.mark.skipif(find_spec("hpbandster") is None, reason="hpbandster is not installed")
@pytest.mark.parametrize("settings", [(40, 160, 2), (1, 27, 3), (3, 100, 3)])
def test_promotions_equal_hpbandsters_successive_halving(settings: tuple[int, int, int]) -> None:
    from hpbandster.core.dispatcher import Job
    from hpbandster.optimizers.iterations import SuccessiveHalving

    brackets = Brackets(*settings)
    total = sum(slots for bracket in plain_sweep(*settings) for slots, _ in bracket)
    configurations: dict[int, int] = {}
    losses: dict[tuple[int, int], float | None] = {}
    ours: dict[tuple[int, int], set[int]] = defaultdict(set)
    for claim, trial in play(brackets, (float(i * 37 % 101) for i in range(total))):
        fresh = len(set(configurations.values()))
        configuration = fresh if claim.parent is None else configurations[claim.parent]
        configurations[trial.number] = configuration
        losses[configuration, brackets.epochs(claim)] = trial.value
        ours[claim.bracket, claim.rung].add(configuration)

    theirs: dict[tuple[int, int], set[int]] = defaultdict(set)
    fresh_configurations = iter(range(total))
    for bracket in range(len(brackets.rungs)):
        sizes = brackets.sizes(bracket)
        budgets = brackets.rungs[-len(sizes) :]
        halving = SuccessiveHalving(bracket, sizes, budgets, lambda _: (next(fresh_configurations), {}))
        while (run := halving.get_next_run()) is not None:
            identity, configuration, budget = run
            job = Job(identity, config=configuration, budget=budget)
            job.result = {"loss": losses[configuration, budget]}
            theirs[bracket, budgets.index(budget)].add(configuration)
            halving.register_result(job)
    assert ours == theirs


def test_a_promoted_slot_names_the_trial_at_the_rung_before() -> None:
    played = [claim for claim, _ in play(Brackets(40, 160, 2), iter([0.4, 0.1, 0.3, 0.2, 0.9, 0.8, 0.7]))]
    assert [claim.parent for claim in played] == [None, None, None, None, 1, 3, 5]


def test_equal_values_promote_the_earlier_trials() -> None:
    played = [claim for claim, _ in play(Brackets(40, 160, 2), iter([0.5] * 7))]
    assert [claim.parent for claim in played[4:]] == [0, 1, 4]


@pytest.mark.parametrize(
    ("losses", "parents"),
    [
        ([None, None, None, 0.1], [3, 4]),
        ([None, math.nan, math.inf, -math.inf], []),
        ([0.1, None, 0.2, 0.3, None, None], [0, 2]),
        ([0.1, 0.2, 0.3, 0.4, 0.5, None], [0, 1, 4]),
    ],
)
def test_dead_trials_are_not_promoted_and_not_replaced(
    losses: list[float | None], parents: list[int]
) -> None:
    """The higher rungs shrink, and the first trial after them opens the next bracket."""
    survivors = [*losses, *[0.5] * 9]
    bracket = [claim for claim, _ in play(Brackets(40, 160, 2), iter(survivors)) if claim.bracket == 0]
    assert [claim.parent for claim in bracket[4:]] == parents
    following = [claim for claim, _ in play(Brackets(40, 160, 2), iter(survivors))][len(bracket)]
    assert following == Claim(bracket=1, rung=0, slot=0)


def test_a_pruned_trial_counts_with_its_value_and_without_one_is_dead() -> None:
    brackets = Brackets(1, 2, 2)
    values = [None, 0.3]
    pruned = [make_trial(i, Claim(0, 0, i), brackets, v, TrialState.PRUNED) for i, v in enumerate(values)]
    assert brackets.next_claim(pruned, MINIMIZE, fresh=False) == Claim(0, 1, 0, parent=1)


def test_maximization_promotes_the_highest() -> None:
    brackets = Brackets(1, 2, 2)
    trials = [make_trial(i, Claim(0, 0, i), brackets, i, TrialState.COMPLETE) for i in range(2)]
    assert brackets.next_claim(trials, StudyDirection.MAXIMIZE, fresh=False).parent == 1
    assert brackets.next_claim(trials, MINIMIZE, fresh=False).parent == 0


def test_while_a_rung_runs_the_next_brackets_open() -> None:
    brackets = Brackets(40, 160, 2)
    trials: list[FrozenTrial] = []
    for number in range(13):
        claim = brackets.next_claim(trials, MINIMIZE, fresh=False)
        trials.append(make_trial(number, claim, brackets, None, TrialState.RUNNING))
    claims = [brackets.claim_of(trial) for trial in trials]
    assert [claim.bracket for claim in claims if claim] == [0] * 4 + [1] * 2 + [2] * 3 + [3] * 4
    assert {claim.rung for claim in claims if claim} == {0}


def test_a_finished_rung_is_promoted_before_a_new_bracket_goes_on() -> None:
    brackets = Brackets(40, 160, 2)
    trials = [make_trial(i, Claim(0, 0, i), brackets, i, TrialState.COMPLETE) for i in range(4)]
    trials.append(make_trial(4, Claim(1, 0, 0), brackets, None, TrialState.RUNNING))
    assert brackets.next_claim(trials, MINIMIZE, fresh=False) == Claim(0, 1, 0, parent=0)
    assert brackets.next_claim(trials, MINIMIZE, fresh=True) == Claim(1, 0, 1)


def test_a_slot_claimed_twice_belongs_to_the_lower_number_and_loses_no_other_slot() -> None:
    brackets = Brackets(1, 2, 2)
    claims = [Claim(0, 0, 0), Claim(0, 0, 0), Claim(0, 0, 1)]
    trials = [make_trial(i, claim, brackets, -i, TrialState.COMPLETE) for i, claim in enumerate(claims)]
    assert brackets.next_claim(trials[:2], MINIMIZE, fresh=False) == Claim(0, 0, 1)
    assert brackets.next_claim(trials, MINIMIZE, fresh=False) == Claim(0, 1, 0, parent=2)
    assert brackets.next_claim(trials[1:], MINIMIZE, fresh=False).parent == 2


def spend(
    brackets: Brackets, budget: int, round_size: int, *, from_scratch: bool
) -> tuple[int, list[Claim], list[FrozenTrial]]:
    """Rounds of trials that start together and end together, until the next trial does not fit."""
    trials: list[FrozenTrial] = []
    claims: list[Claim] = []
    spent = 0
    while True:
        for _ in range(round_size):
            claim = brackets.next_claim(trials, MINIMIZE, fresh=False)
            if not brackets.fits(claim, trials, MINIMIZE, budget - spent, from_scratch=from_scratch):
                break
            spent += brackets.cost(claim, from_scratch=from_scratch)
            trials.append(make_trial(len(trials), claim, brackets, None, TrialState.RUNNING))
            claims.append(claim)
        running = [trial for trial in trials if trial.state is TrialState.RUNNING]
        if not running:
            return spent, claims, trials
        for trial in running:
            trial.state, trial.values = TrialState.COMPLETE, [float(trial.number * 37 % 101)]


@pytest.mark.parametrize("round_size", [1, 2, 3, 8, 16, 100])
def test_rounds_of_any_size_make_the_papers_schedule(round_size: int) -> None:
    brackets = Brackets(40, 160, 2)
    spent, claims, _ = spend(brackets, 5120, round_size, from_scratch=True)
    slots = {(claim.bracket, claim.rung, claim.slot) for claim in claims}
    one_by_one = [claim for claim, _ in play(brackets, iter([0.5] * 52))]
    assert spent == 5120
    assert slots == {(claim.bracket, claim.rung, claim.slot) for claim in one_by_one}


@pytest.mark.parametrize("settings", TRIPLES)
def test_a_continued_sweep_costs_a_configurations_epochs_once(settings: tuple[int, int, int]) -> None:
    brackets = Brackets(*settings)
    sweep = plain_sweep(*settings)
    once = sum(
        slots * (epochs - (bracket[rung - 1][1] if rung else 0))
        for bracket in sweep
        for rung, (slots, epochs) in enumerate(bracket)
    )
    for round_size in (1, 5):
        spent, claims, _ = spend(brackets, once, round_size, from_scratch=False)
        assert spent == once
        assert len(claims) == sum(slots for bracket in sweep for slots, _ in bracket)


def test_what_is_too_little_for_a_bracket_is_spent_once_nothing_waits() -> None:
    spent, claims, _ = spend(Brackets(40, 160, 2), 1280 + 120, 8, from_scratch=True)
    assert spent == 1400
    assert claims[-3:] == [Claim(3, 0, 0), Claim(3, 0, 1), Claim(3, 0, 2)]
    assert spend(Brackets(40, 160, 2), 39, 8, from_scratch=True) == (0, [], [])


class Forgetful(Brackets):
    """The slow twin, which reads every trial for every answer."""

    def _known_of(self, trials: list[FrozenTrial]) -> _Filled:
        return _Filled()


def snapshots(brackets: Brackets, rng: random.Random) -> Iterator[list[FrozenTrial]]:
    """A study as it grows: its trials end in any order and any way, some claim what they should not, or write
    their claims late, and some fill no slot.
    """
    trials: list[FrozenTrial] = []
    late: dict[int, dict[str, object]] = {}
    for number in range(40):
        seen = trials[: len(trials) - rng.choice([0, 0, 0, 1])]
        claim = brackets.next_claim(seen, MINIMIZE, fresh=rng.random() < 0.1)
        if rng.random() < 0.05:
            claim = Claim(rng.randrange(4), rng.randrange(2), rng.randrange(6))
        trials.append(make_trial(number, claim, brackets, None, TrialState.RUNNING))
        if rng.random() < 0.1:
            late[number], trials[-1].system_attrs = trials[-1].system_attrs, {}
        yield list(trials)
        while (running := [t for t in trials if not t.state.is_finished()]) and rng.random() < 0.8:
            trial = copy.copy(rng.choice(running))
            trial.system_attrs = late.pop(trial.number, trial.system_attrs)
            trial.state = rng.choice([TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL])
            trial.values = rng.choice([[0.0], [rng.random()], [math.nan], None])
            trials[trial.number] = trial
            yield list(trials)


@pytest.mark.parametrize("settings", [(1, 2, 2), (2, 8, 2), (1, 9, 3)])
def test_what_is_remembered_changes_no_answer(settings: tuple[int, int, int]) -> None:
    """One object asked about several studies in turn, of whole ones, of their ends and of what they were."""
    remembering, forgetful, rng = Brackets(*settings), Forgetful(*settings), random.Random(1)
    for _ in range(3):
        before: list[FrozenTrial] = []
        for first, second in zip(snapshots(forgetful, rng), snapshots(forgetful, rng), strict=False):
            for trials in (first, first[1:], first, second, copy.deepcopy(second), before):
                for fresh in (False, True):
                    claim = forgetful.next_claim(trials, MINIMIZE, fresh=fresh)
                    assert remembering.next_claim(trials, MINIMIZE, fresh=fresh) == claim
                    for asked, left in itertools.product((claim, Claim(0, 0, 0)), (1, 8, 40)):
                        arguments = (asked, trials, MINIMIZE, left)
                        fits = forgetful.fits(*arguments, from_scratch=fresh)
                        assert remembering.fits(*arguments, from_scratch=fresh) == fits
                assert remembering.state(trials, MINIMIZE) == forgetful.state(trials, MINIMIZE)
            before = rng.choice([before, second])


def test_a_proposal_reads_what_is_open_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    real = Brackets.claim_of
    monkeypatch.setattr(Brackets, "claim_of", lambda self, trial: read.append(1) or real(self, trial))
    brackets = Brackets(40, 160, 2)
    _, claims, trials = spend(brackets, 100 * 1280, 8, from_scratch=True)
    assert len(claims) == 1300
    assert len(read) < 20 * 1300
    assert brackets.next_claim(trials, MINIMIZE, fresh=False) == Claim(300, 0, 0)
    assert brackets._known.slots == {}


def test_a_late_claim_of_a_complete_bracket_counts() -> None:
    brackets = Brackets(1, 2, 2)
    trials = [trial for _, trial in play(brackets, iter([None, None, 0.5]))]
    assert brackets.next_claim(trials, MINIMIZE, fresh=False) == Claim(1, 0, 1)
    trials.append(make_trial(3, Claim(0, 0, 2), brackets, 0.1, TrialState.COMPLETE))
    assert brackets.next_claim(trials, MINIMIZE, fresh=False) == Claim(0, 1, 0, parent=3)


def test_a_copy_leaves_behind_what_is_remembered() -> None:
    brackets = Brackets(40, 160, 2)
    trials = [trial for _, trial in play(brackets, iter([0.5] * 20))]
    assert brackets.unfinished(trials) == []
    sent = pickle.loads(pickle.dumps(brackets))
    assert sent == brackets
    assert (len(brackets._known.trials), len(sent._known.trials)) == (20, 0)


def test_another_trials_or_another_schedules_claim_is_ignored() -> None:
    brackets = Brackets(40, 160, 2)
    trial = make_trial(0, Claim(0, 0, 0), brackets, 0.5, TrialState.COMPLETE)
    assert brackets.claim_of(trial) == Claim(0, 0, 0)
    assert Brackets(40, 320, 2).claim_of(trial) is None
    trial.number = 1
    assert brackets.claim_of(trial) is None


@pytest.mark.parametrize("settings", TRIPLES)
def test_rungs_rise_from_at_least_the_minimum_to_the_maximum(settings: tuple[int, int, int]) -> None:
    rungs = Brackets(*settings).rungs
    assert rungs[0] >= settings[0]
    assert rungs[-1] == settings[1]
    assert all(lower < higher for lower, higher in pairwise(rungs))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ((0, 8, 2), "min_epochs must be an integer from 1 to 8, got 0"),
        ((9, 8, 2), "min_epochs must be an integer from 1 to 8, got 9"),
        ((1, 0, 2), "max_epochs must be an integer of at least 1, got 0"),
        ((1, 8.0, 2), "max_epochs must be an integer of at least 1, got 8.0"),
        ((1, 8, 1), "eta must be an integer of at least 2, got 1"),
        ((True, 8, 2), "min_epochs must be an integer from 1 to 8, got True"),
    ],
)
def test_wrong_settings_are_refused(settings: tuple[int, int, int], message: str) -> None:
    with pytest.raises(ArgumentError) as raised:
        Brackets(*settings)
    assert str(raised.value) == message
