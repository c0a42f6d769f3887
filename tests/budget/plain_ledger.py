"""A plain Python model of the ledger, without a database."""

import math
from dataclasses import dataclass, field
from fractions import Fraction

from hpo_gn.budget import Account, Statement, TrialEntry, WorkerEntry
from hpo_gn.errors import AlreadyHeldError, ArgumentError, BudgetExhaustedError, HoldClosedError

LEASE_S = 10
DEATHS = ("its lease lapsed", "its worker died")


def steps_up(amount):
    """The next multiple of 1/1024."""
    return Fraction(math.ceil(Fraction(amount) * 1024), 1024)


@dataclass
class ModelCharge:
    took: tuple | None = None
    paid: Fraction = Fraction(0)


@dataclass
class ModelHold:
    trial: int
    epochs: int
    gpus: int
    owner: str
    share: Fraction
    seen_at: float
    charged: dict = field(default_factory=dict)
    reason: str | None = None

    @property
    def arguments(self):
        return self.trial, self.epochs, self.gpus, self.owner, self.share

    @property
    def measured(self):
        return sum(charge.paid for charge in self.charged.values())

    @property
    def reserve(self):
        return max(Fraction(0), self.epochs * self.gpus * self.share - self.measured)

    @property
    def unused(self):
        return (self.epochs - len(self.charged)) * self.gpus + self.reserve

    @property
    def spent(self):
        return len(self.charged) * self.gpus + self.measured

    @property
    def lease_until(self):
        return self.seen_at + LEASE_S

    def seconds(self, which):
        return sum(charge.took[which] for charge in self.charged.values() if charge.took)


@dataclass
class Model:
    """What the ledger promises, without a database: each call changes this or raises, never both."""

    limit: int
    now: float = 1000.0
    holds: dict = field(default_factory=dict)

    @property
    def held(self):
        return sum(hold.unused for hold in self.holds.values() if hold.reason is None)

    @property
    def spent(self):
        return sum(hold.spent for hold in self.holds.values())

    @property
    def measuring(self):
        return sum(hold.measured for hold in self.holds.values())

    def lapsed(self):
        return [hold for hold in self.holds.values() if hold.reason is None and hold.lease_until < self.now]

    def reap(self):
        for hold in self.lapsed():
            hold.reason = "its lease lapsed"

    def left(self):
        """What is left once the lapsed holds are settled."""
        return self.limit - self.spent - self.held + sum(hold.unused for hold in self.lapsed())

    def hold(self, key, trial, epochs, gpus, owner, measuring):
        asked = ModelHold(trial, epochs, gpus, owner, steps_up(measuring), self.now)
        living = {
            name: hold
            for name, hold in self.holds.items()
            if hold.reason is None and hold.lease_until >= self.now
        }
        if key in self.holds:
            if key not in living or living[key].arguments != asked.arguments:
                raise HoldClosedError
        elif any(hold.trial == trial for hold in living.values()):
            raise AlreadyHeldError
        elif asked.unused > self.left():
            raise BudgetExhaustedError
        else:
            self.holds[key] = asked
        self.reap()

    def live(self, key):
        if key not in self.holds:
            raise ArgumentError("", "", "")
        hold = self.holds[key]
        if hold.reason is not None or hold.lease_until < self.now:
            raise HoldClosedError
        return hold

    def charge(self, key, epoch):
        hold = self.live(key)
        if epoch not in hold.charged:
            if len(hold.charged) == hold.epochs:
                raise BudgetExhaustedError
            hold.charged[epoch] = ModelCharge()
        hold.seen_at = self.now

    def record(self, key, epoch, training_s, measuring_s):
        hold, took = self.live(key), (training_s, measuring_s)
        if epoch not in hold.charged:
            raise ArgumentError("", "", "")
        charge = hold.charged[epoch]
        if charge.took not in (None, took) or (charge.took is None and hold.share and not training_s):
            raise ArgumentError("", "", "")
        if charge.took is None and hold.share:
            cost = steps_up(Fraction(measuring_s * hold.gpus, training_s))
            if cost > hold.reserve:
                self.reap()
            charge.paid = min(cost, hold.reserve + self.left())
        charge.took = took
        hold.seen_at = self.now

    def renew(self, key):
        self.live(key).seen_at = self.now

    def settle(self, key, reason):
        if key not in self.holds:
            raise ArgumentError("", "", "")
        if self.holds[key].reason is None:
            self.holds[key].reason = reason

    def release(self, owner):
        for hold in self.holds.values():
            if hold.owner == owner and hold.reason is None:
                hold.reason = "its worker died"

    def change_limit(self, limit):
        if limit == self.limit:
            return
        if limit < self.limit - self.left():
            raise ArgumentError("", "", "")
        self.reap()
        self.limit = limit

    def deaths(self, trial):
        return deaths(hold for hold in self.holds.values() if hold.trial == trial)

    def account(self):
        self.reap()
        return self.as_recorded()

    def as_recorded(self):
        return Account(self.limit, self.held, self.spent, self.measuring)

    def open_holds(self):
        self.reap()
        return sorted(hold.trial for hold in self.holds.values() if hold.reason is None)

    def statement(self):
        owners = sorted({hold.owner for hold in self.holds.values()})
        trials = sorted({hold.trial for hold in self.holds.values()})
        return Statement(
            self.as_recorded(),
            tuple(self.worker(owner) for owner in owners),
            tuple(self.trial(trial) for trial in trials),
        )

    def worker(self, owner):
        mine = [hold for hold in self.holds.values() if hold.owner == owner]
        return WorkerEntry(
            owner,
            trials=tuple(sorted(hold.trial for hold in mine if hold.reason is None)),
            epochs=sum(len(hold.charged) for hold in mine),
            training_s=sum(hold.seconds(0) for hold in mine),
            measuring_s=sum(hold.seconds(1) for hold in mine),
            last_seen_s=min(self.now - hold.seen_at for hold in mine),
            deaths=deaths(mine),
        )

    def trial(self, trial):
        its = [hold for hold in self.holds.values() if hold.trial == trial]
        current = next((hold for hold in its if hold.reason is None), None)
        return TrialEntry(
            trial,
            owner=current and current.owner,
            epochs=sum(len(hold.charged) for hold in its),
            spent=sum(hold.spent for hold in its),
            held=current.unused if current else 0,
            training_s=sum(hold.seconds(0) for hold in its),
            measuring_s=sum(hold.seconds(1) for hold in its),
            lease_left_s=current and current.lease_until - self.now,
            deaths=deaths(its),
        )


def deaths(holds):
    return sum(hold.reason in DEATHS for hold in holds)
