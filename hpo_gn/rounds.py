"""Rounds: which trial a worker runs next, agreed on through nothing but the study and the ledger.

Any number of workers on any machine follow the same rules. A trial that is RUNNING without an open hold is
free to be claimed. When no trial is RUNNING, whoever gets the turn proposes the next round: a round's
proposals see finished rounds only, so they are the same for any number of workers.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState

from hpo_gn.books import Books
from hpo_gn.budget import Hold
from hpo_gn.budget.amounts import rounded_up
from hpo_gn.errors import AlreadyHeldError, BudgetExhaustedError, HoldClosedError, StudyError
from hpo_gn.fidelity import EPOCHS, ROUND, Assignment, continues, epochs_of
from hpo_gn.trial import ERROR, REASON, Outcome

ROUNDS = "hpo_gn:rounds"
"""Study attribute: how many rounds are proposed in full."""

_MOST_DEATHS = 3
_WAIT_S = 0.2

_SPARE = 1.25
"""Where measuring is charged, what a trial sets aside for it over what it took so far."""
FIRST_SHARE = 1.0
"""What it sets aside before anything was measured, as a share of its epochs."""


@dataclass(frozen=True)
class Rules:
    """How rounds are proposed.

    Args:
        distributions: the space.
        epochs: a trial's epochs, where the sampler does not assign them.
        round_size: trials a round.
        from_scratch: a promoted configuration is trained, and charged, from its first epoch.
    """

    distributions: dict[str, BaseDistribution]
    epochs: int
    round_size: int
    from_scratch: bool = False


@dataclass(frozen=True)
class Claim:
    """A trial that is this worker's to run, and the hold on its epochs."""

    trial: FrozenTrial
    hold: Hold


class Rounds:
    """The queue of one study's trials.

    Args:
        study: with the sampler that proposes.
        ledger: the study's.
        rules: how rounds are proposed; None for a study whose trials are all there.
        remaining: epochs that a trial has still to run, given what checkpoints there are.
        gpus: what one epoch costs.
        charge_measures: whether measuring is charged as well.
    """

    def __init__(
        self,
        study: optuna.Study,
        ledger: Books,
        rules: Rules | None,
        remaining: Callable[[FrozenTrial], int],
        gpus: int = 1,
        charge_measures: bool = False,
    ) -> None:
        self.study, self.ledger, self.rules, self._remaining = study, ledger, rules, remaining
        self._gpus, self._charge_measures = gpus, charge_measures

    def free(self) -> Iterator[FrozenTrial]:
        """The trials that wait for a worker and that the budget pays for together, in order; those that
        killed too many workers are ended instead.
        """
        running = self._running()
        held = {hold["trial"] for hold in self.ledger.open_holds()} if running else set()
        waiting = [trial for trial in running if trial.number not in held]
        left = self.ledger.account().left if waiting else 0
        # Found as they are asked for: each takes a look into the ledger and at the trial's checkpoints.
        for trial in waiting:
            if self._gave_up(trial):
                continue
            price = self._price(max(1, self._remaining(trial)))
            if price <= left:
                left -= price
                yield trial

    def claim(self, number: int | None = None) -> Claim | None:
        """A trial to run, with its hold; None if every one is taken, finished, or beyond the budget.

        Args:
            number: of the only trial that will do.
        """
        for trial in self.free():
            if number not in (None, trial.number):
                continue
            hold = self._hold(trial)
            if hold is None:
                continue
            if not self.study._storage.get_trial(trial._trial_id).state.is_finished():
                return Claim(trial, hold)
            hold.settle("the trial was finished already")
        return None

    def _running(self) -> list[FrozenTrial]:
        proposed = self.study.user_attrs.get(ROUNDS, 0)
        trials = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        return [trial for trial in trials if trial.user_attrs.get(ROUND, proposed + 1) <= proposed]

    def _gave_up(self, trial: FrozenTrial) -> bool:
        deaths = self.ledger.deaths(trial.number)
        if deaths >= _MOST_DEATHS:
            with suppress(UpdateFinishedTrialError):  # another worker gave it up in this moment
                self.tell(trial, Outcome(TrialState.FAIL, reason=f"{deaths} workers died of it"))
        return deaths >= _MOST_DEATHS

    def _hold(self, trial: FrozenTrial) -> Hold | None:
        try:
            # A trial that only lacks its verdict still needs a hold, so that one worker alone gives it.
            return self.ledger.hold(
                trial,
                epochs=max(1, self._remaining(trial)),
                gpus=self._gpus,
                measuring=self._measuring_share(),
            )
        except (AlreadyHeldError, BudgetExhaustedError):
            return None

    def _measuring_share(self) -> float:
        """What to set aside for measuring, as a share of a trial's epochs."""
        if not self._charge_measures:
            return 0.0
        training_s, measuring_s = self.ledger.seconds()
        return rounded_up(_SPARE * measuring_s / training_s) if training_s > 0 else FIRST_SHARE

    def tell(self, trial: FrozenTrial, outcome: Outcome) -> None:
        """End a trial, saying why it ended early if it did.

        Raises:
            UpdateFinishedTrialError: another worker ended it meanwhile.
        """
        if self.study._storage.get_trial(trial._trial_id).state.is_finished():
            raise UpdateFinishedTrialError(f"trial {trial.number} is finished")  # Optuna raises ValueError
        if outcome.reason is not None:
            self.study._storage.set_trial_user_attr(trial._trial_id, REASON, outcome.reason)
        if outcome.state == TrialState.PRUNED:
            self.study.tell(trial.number, state=outcome.state)  # Optuna takes its last report for the value
        else:
            self.study.tell(trial.number, outcome.value, state=outcome.state)

    def advance(self) -> bool:
        """Propose the next round if it is time to, or wait a little; False when there is nothing more to run.

        Raises:
            StudyError: every trial of the last round ended with an exception, so that more of them would as
                well.
        """
        if not self._running() or self._starved():
            # Whoever sleeps past the lease of its turn leaves the round to the next proposer.
            with suppress(HoldClosedError, UpdateFinishedTrialError), self.ledger.turn() as turn:
                if turn is not None:
                    return self._advance(turn)
        time.sleep(_WAIT_S)
        return True

    def _advance(self, turn: Hold) -> bool:
        for trial, reason in self._starved():
            self.tell(trial, Outcome(TrialState.FAIL, reason=reason))
        if self._running():
            return True
        trials = self.study.get_trials(deepcopy=False)
        proposed = self.study.user_attrs.get(ROUNDS, 0)
        self._check_last_round([trial for trial in trials if trial.user_attrs.get(ROUND) == proposed])
        return self.rules is not None and self._propose(turn, proposed + 1, self.rules) > 0

    def _propose(self, turn: Hold, number: int, rules: Rules) -> int:
        """Propose a round, or what is missing of one whose proposer died; how many trials it has."""
        mine = [trial for trial in self.study.get_trials(deepcopy=False) if _belongs(trial, number)]
        reserved = sum(
            self._cost(_assignment(trial, rules), rules) for trial in mine if ROUND in trial.user_attrs
        )
        half_made = [trial for trial in mine if ROUND not in trial.user_attrs]
        count = len(mine) - len(half_made)
        left = self.ledger.account().left
        while count < rules.round_size:
            begun = half_made.pop(0) if half_made else None
            cost = self._next_cost(begun, rules)
            if cost > left - reserved or (begun is None and not self._fits(left - reserved, rules)):
                break
            turn.confirm()  # a proposer that slept past its lease must not add to another's round
            self._ask(number, rules, begun)
            count, reserved = count + 1, reserved + cost
        if count:
            self.study.set_user_attr(ROUNDS, number)
        return count

    def _ask(self, number: int, rules: Rules, half_made: FrozenTrial | None) -> None:
        if half_made is None:
            trial = self.study.ask(rules.distributions)
        else:
            trial = optuna.Trial(self.study, half_made._trial_id)
            for name, distribution in rules.distributions.items():
                trial._suggest(name, distribution)
        if EPOCHS not in trial.user_attrs:
            trial.set_user_attr(EPOCHS, rules.epochs)
        trial.set_user_attr(ROUND, number)

    def _next_cost(self, begun: FrozenTrial | None, rules: Rules) -> float:
        if begun is not None and EPOCHS in begun.user_attrs:
            return self._cost(_assignment(begun, rules), rules)
        assign = getattr(self.study.sampler, "next_assignment", None)
        return self._cost(assign(self.study) if assign else Assignment(rules.epochs), rules)

    def _fits(self, left: float, rules: Rules) -> bool:
        # A sampler that promotes may want to keep epochs for what it has begun.
        fits = getattr(self.study.sampler, "fits", None)
        epochs = int(left / self._price(1))
        return fits is None or bool(fits(self.study, epochs, from_scratch=rules.from_scratch))

    def _cost(self, assignment: Assignment, rules: Rules) -> float:
        done = 0
        if assignment.continues is not None and not rules.from_scratch:
            parent = self.study.get_trials(deepcopy=False)[assignment.continues]
            done = epochs_of(parent, rules.epochs) if parent.state == TrialState.COMPLETE else 0
        return self._price(assignment.epochs - done)

    def _price(self, epochs: int) -> float:
        return epochs * self._gpus * (1 + self._measuring_share())

    def _starved(self) -> list[tuple[FrozenTrial, str]]:
        """Trials that the budget can never finish, since nothing is held any more that could come back, and
        why.
        """
        account = self.ledger.account()  # first: what others hold from now on is not missing in it
        if account.held:
            return []
        # One in its last epoch has charged all that it held.
        held = {hold["trial"] for hold in self.ledger.open_holds()}
        running = [trial for trial in self._running() if trial.number not in held]
        left = account.left
        needs = [(trial, self._price(max(1, self._remaining(trial)))) for trial in running]
        return [
            (trial, f"the budget has {left:g} GPU×epochs left, and the trial still needs {need:g}")
            for trial, need in needs
            if need > left
        ]

    def _check_last_round(self, trials: list[FrozenTrial]) -> None:
        if any(trial.state == TrialState.COMPLETE for trial in self.study.get_trials(deepcopy=False)):
            return  # a small last round must not take the result away
        errors = [trial.user_attrs[ERROR] for trial in trials if ERROR in trial.user_attrs]
        if trials and len(errors) == len(trials):
            raise StudyError(f"every trial of the last round failed, the first with {errors[0]}")


def _belongs(trial: FrozenTrial, number: int) -> bool:
    half_made = trial.state == TrialState.RUNNING and ROUND not in trial.user_attrs
    return half_made or trial.user_attrs.get(ROUND) == number


def _assignment(trial: FrozenTrial, rules: Rules) -> Assignment:
    return Assignment(epochs_of(trial, rules.epochs), continues(trial))
