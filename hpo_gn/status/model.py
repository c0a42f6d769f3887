"""What a status says."""

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from hpo_gn.budget import Account
from hpo_gn.pruning import FalseKills
from hpo_gn.status.pace import Pace

SEARCH, OVER = "search", "over"
UNFINISHED = ("running", "lapsed", "waiting")


@dataclass(frozen=True)
class WorkerStatus:
    """A worker, as far as the ledger knows it.

    Args:
        owner: its name.
        state: "working" under a running lease; "dead", since its process on this machine is gone; "silent",
            since its lease lapsed; or "idle", since it holds nothing: it waits, or left.
        trials: those it holds.
        lease_left_s: seconds until its first lease lapses, negative since one did; None if it holds nothing.
        epochs: charged.
        training_s, measuring_s: seconds recorded.
        last_seen_s: seconds since it last wrote to the ledger.
        deaths: how many of its holds were settled for it, as it was dead or taken for it.
    """

    owner: str
    state: str
    trials: tuple[int, ...]
    lease_left_s: float | None
    epochs: int
    training_s: float
    measuring_s: float
    last_seen_s: float
    deaths: int


@dataclass(frozen=True)
class TrialStatus:
    """A trial, by its study and by the ledger.

    Args:
        trial: its number.
        state: Optuna's once it has ended: "complete", "pruned" or "fail"; before that "running" under a hold,
            "lapsed" under one whose lease is over, or "waiting" for a worker.
        round: in which it was proposed; None while that is being done.
        value: its objective.
        epochs_done: measured, those of the trial that it continues included.
        epochs: assigned to it; None while it is being proposed.
        spent, held: GPU×epochs charged to it, and still set aside for it.
        training_s, measuring_s: seconds recorded.
        owner: who holds it.
        lease_left_s: seconds until that lease lapses, negative since it did.
        deaths: how many workers died while they held it.
        reason: why it ended early.
    """

    trial: int
    state: str
    round: int | None
    value: float | None
    epochs_done: int
    epochs: int | None
    spent: float
    held: float
    training_s: float
    measuring_s: float
    owner: str | None
    lease_left_s: float | None
    deaths: int
    reason: str | None

    @property
    def unfinished(self) -> bool:
        """Whether it has not ended."""
        return self.state in UNFINISHED


@dataclass(frozen=True)
class MeasureStatus:
    """What a measure, or the pass over a split that all of its measures share, took in all epochs.

    Args:
        name: the measure's first column, or the split.
        epochs: in which it was measured.
        seconds: in all of them.
        forward, backward: passes over the measured samples, in all of them.
    """

    name: str
    epochs: int
    seconds: float
    forward: float
    backward: float


@dataclass(frozen=True)
class StageStatus:
    """The search, or the retraining of its winner.

    Args:
        title: which of them.
        account: its budget.
        round: the last that was proposed in full.
        states: trials in each state.
        round_states: likewise, of the last round alone.
        best_trial, best_value: of the search's trials with the most epochs the best; None where none ended,
            and in the retraining.
        pace: of the last minutes; None where no epoch ended in them.
        to_go_s: about how many seconds the rest takes at that pace; None where nobody works.
        workers, trials, measures: what they did.
        false_kills: what giving up saved, and how often it was wrong; None where nothing was given up.
    """

    title: str
    account: Account
    round: int
    states: dict[str, int]
    round_states: dict[str, int]
    best_trial: int | None
    best_value: float | None
    pace: Pace | None
    to_go_s: float | None
    workers: tuple[WorkerStatus, ...]
    trials: tuple[TrialStatus, ...]
    measures: tuple[MeasureStatus, ...]
    false_kills: FalseKills | None = None

    @property
    def is_search(self) -> bool:
        """Whether it is the search."""
        return self.title == SEARCH

    @property
    def training_s(self) -> float:
        """Seconds of training recorded."""
        return sum(worker.training_s for worker in self.workers)

    @property
    def measuring_s(self) -> float:
        """Seconds of measuring recorded."""
        return sum(worker.measuring_s for worker in self.workers)

    @property
    def measuring_share(self) -> float | None:
        """Measuring's share of the recorded time."""
        both = self.training_s + self.measuring_s
        return self.measuring_s / both if both else None

    @property
    def lapsed(self) -> tuple[TrialStatus, ...]:
        """Trials whose lease is over, and that nobody has settled yet."""
        return tuple(trial for trial in self.trials if (trial.lease_left_s or 0) < 0)

    @property
    def running(self) -> bool:
        """Whether a trial has not ended."""
        return any(trial.unfinished for trial in self.trials)

    @property
    def deaths(self) -> int:
        """Holds of dead workers that were settled."""
        return sum(worker.deaths for worker in self.workers)

    def to_dict(self) -> dict[str, Any]:
        """The stage as JSON's types."""
        return asdict(self) | {
            "account": asdict(self.account) | {"left": self.account.left},
            "training_s": self.training_s,
            "measuring_s": self.measuring_s,
            "measuring_share": self.measuring_share,
            "lapsed": [trial.trial for trial in self.lapsed],
            "deaths": self.deaths,
            "false_kills": self.false_kills and self.false_kills.to_dict(),
        }


@dataclass(frozen=True)
class Status:
    """How a search stands.

    Args:
        study: its name.
        storage: its database, without a password.
        read_at: when it was read, by this machine's clock, as ISO 8601.
        stage: "search", "retraining of trial N", or "over".
        search: the search.
        retraining: of its winner, once that has begun.
    """

    study: str
    storage: str
    read_at: str
    stage: str
    search: StageStatus
    retraining: StageStatus | None

    def to_json(self) -> str:
        """The status as a line of JSON, with null for what is not known."""
        stages = {"search": self.search.to_dict(), "retraining": None}
        if self.retraining is not None:
            stages["retraining"] = self.retraining.to_dict()
        return json.dumps(_finite(vars(self) | stages))


def any_works(workers: Iterable[WorkerStatus]) -> bool:
    """Whether a worker is at work."""
    return any(worker.state == "working" for worker in workers)


def _finite(value: Any) -> Any:
    """The value with None for NaN and infinities, which JSON has not."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, (list, tuple)) else value
