"""What the study and the ledger together say of a worker, a trial and a measure."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from optuna.trial import FrozenTrial

from hpo_gn.budget import TrialEntry, WorkerEntry
from hpo_gn.fidelity import EPOCHS, ROUND, continues
from hpo_gn.history import History
from hpo_gn.measures.cost import Cost
from hpo_gn.owner import is_dead
from hpo_gn.status.model import MeasureStatus, TrialStatus, WorkerStatus
from hpo_gn.trial import ERROR, REASON

_NEVER_HELD = TrialEntry(-1, None, 0, 0, 0, 0.0, 0.0, None, 0)


def trial_status(trial: FrozenTrial, entry: TrialEntry | None) -> TrialStatus:
    """A trial's status.

    Args:
        trial: of the study.
        entry: of the ledger; None if it was never held.
    """
    entry = entry or _NEVER_HELD
    attributes = trial.user_attrs
    return TrialStatus(
        trial=trial.number,
        state=_state(trial, entry),
        round=attributes.get(ROUND),
        value=trial.values[0] if trial.values else None,
        epochs_done=len(History.of(trial)),
        epochs=attributes.get(EPOCHS),
        spent=entry.spent,
        held=entry.held,
        training_s=entry.training_s,
        measuring_s=entry.measuring_s,
        owner=entry.owner,
        lease_left_s=entry.lease_left_s,
        deaths=entry.deaths,
        reason=attributes.get(REASON, attributes.get(ERROR)),
    )


def _state(trial: FrozenTrial, entry: TrialEntry) -> str:
    if trial.state.is_finished():
        return trial.state.name.lower()
    if entry.lease_left_s is None:
        return "waiting"
    return "running" if entry.lease_left_s >= 0 else "lapsed"


def worker_status(entry: WorkerEntry, trials: Mapping[int, TrialEntry]) -> WorkerStatus:
    """A worker's status.

    Args:
        entry: of the ledger.
        trials: the ledger's entries by number, for the leases of those that it holds.
    """
    leases = [lease for each in entry.trials if (lease := trials[each].lease_left_s) is not None]
    lease_left_s = min(leases, default=None)
    return WorkerStatus(
        owner=entry.owner,
        state=_state_of_worker(entry.owner, lease_left_s),
        trials=entry.trials,
        lease_left_s=lease_left_s,
        epochs=entry.epochs,
        training_s=entry.training_s,
        measuring_s=entry.measuring_s,
        last_seen_s=entry.last_seen_s,
        deaths=entry.deaths,
    )


def _state_of_worker(owner: str, lease_left_s: float | None) -> str:
    if lease_left_s is None:
        return "idle"
    if is_dead(owner):
        return "dead"
    return "working" if lease_left_s >= 0 else "silent"


class Measures:
    """Sums what measures took over a study's trials, each epoch once."""

    def __init__(self) -> None:
        self._ended: dict[int, list[tuple[str, Cost]]] = {}

    def sum(self, trials: Sequence[FrozenTrial]) -> tuple[MeasureStatus, ...]:
        """What each measure took, the dearest first."""
        epochs: Counter[str] = Counter()
        costs: dict[str, Cost] = defaultdict(lambda: Cost(0.0, 0.0, 0.0))
        for trial in trials:
            for name, cost in self._of(trial, trials):
                epochs[name] += 1
                costs[name] += cost
        dearest = sorted(costs.items(), key=lambda named: (-named[1].seconds, named[0]))
        return tuple(
            MeasureStatus(name, epochs[name], cost.seconds, cost.forward, cost.backward)
            for name, cost in dearest
        )

    def _of(self, trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> list[tuple[str, Cost]]:
        found = self._ended.get(trial.number)
        if found is None:
            found = _costs(trial, trials)
            if trial.state.is_finished():
                self._ended[trial.number] = found
        return found


def _costs(trial: FrozenTrial, trials: Sequence[FrozenTrial]) -> list[tuple[str, Cost]]:
    parent = continues(trial)
    before = () if parent is None else History.of(trials[parent]).rows
    # A trial that goes on from another's checkpoint carries that one's rows: the same, to the microsecond.
    own = (
        row
        for number, row in enumerate(History.of(trial).rows)
        if number >= len(before) or row.costs != before[number].costs
    )
    return [named for row in own for named in row.costs.items()]
