"""Early give-up: runs that will not succeed, runs that are over, and runs that diverged ("Predicting the
success of Gradient Descent for a particular Dataset-Architecture-Initialization", section V).
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from datetime import datetime
from statistics import median
from typing import Self, get_args

from optuna.pruners import BasePruner
from optuna.study import Study
from optuna.trial import FrozenTrial

from hpo_gn.errors import ArgumentError, UnknownNameError
from hpo_gn.history import History, has_gaps
from hpo_gn.measures import Accuracy, Measure, Spectrum
from hpo_gn.measures.early_success import DEFAULTS, EarlySuccess, Spectra
from hpo_gn.pruning import careful_verdict
from hpo_gn.searchers._costs import as_cost, check_integer, sign_of
from hpo_gn.searchers.pruners._lenience import least_lenient
from hpo_gn.searchers.pruners._past import COLUMNS, Past, Signal, comparable, score_at, spectra_at, tells


class GiveUpPruner(BasePruner):
    """Gives up a run whose signal is worse, `patience` epochs in a row, than that of each of the best
    finished runs was at the same epoch; one that is trained already and cannot become one of the `top` any
    more; and one that diverged.

    **Chosen**: the paper compares s_F with a threshold t1, whose right value depends on network, data and
    epoch. Here the study itself calibrates it: at each epoch it is the worst signal that any of the best
    `lenience` share of the finished runs had there. A `threshold` takes its place if one is given. A single
    epoch says too little: after the first, networks with batch norm may have any loss.

    A run is trained already if its spectra are as steep as the best runs' are in the end (s_o ≥ t2) and
    change no more than theirs do there (|s_s| ≤ δ), t2 and δ again calibrated on the study. It is given up if
    even the largest gain that such a run still made would leave it behind the `top` best, and so many are
    ahead of it already.

    A run whose value is among the `top` finished ones' goes on, and so does one at the epoch that ends the
    finished runs, where there is nothing to save. A run is left alone at an epoch where it has no signal:
    rows of its History are missing, or its layers changed within the window. If it has no spectra at all, or
    no validation accuracy, its value is the signal. An exception in here lets the run go on, too, and is
    warned of once.

    Args:
        signal: what is looked at: "value", the value that the trial reports; "s-fv", 1 − s_Fv; or "s-f", s_F,
            which needs no labels.
        lenience: share of the finished runs, from 0 to 1, that a run must be worse than. Larger gives up
            less.
        patience: epochs in a row, of those at which it decides, that a run must be worse.
        top: ranks from 1 on that must not be lost; at least so many runs are compared with.
        n_startup_trials: nothing is given up before so many runs have finished.
        threshold: of the signal, as it is: s_Fv or s_F above it, a value on the better side of it, goes on.
            The paper's t1 for s_F is 0.25. Finished runs and patience then do not matter, but for a run whose
            value has to do for another signal, which the threshold is not of.
        checkpoints: epochs at which it decides, or steps where the value is the signal; None for all.
        false_kills: a level for the share of given-up runs that would have ended among the `top`: instead of
            `lenience`, the least lenient one for which a bound of 95 % is below it, by what the rule would
            have done to the runs that were trained to the end. Until one is, only what diverged is given up;
            0.05 takes 59 runs that it would have given up. Runs that are trained already do not count in it.
        parameters: of the scores.

    Raises:
        ArgumentError: an argument breaks its rule.
        UnknownNameError: no signal has the name.
    """

    def __init__(
        self,
        *,
        signal: Signal = "value",
        lenience: float = 0.25,
        patience: int = 2,
        top: int = 3,
        n_startup_trials: int = 3,
        threshold: float | None = None,
        checkpoints: Sequence[int] | None = None,
        false_kills: float | None = None,
        parameters: EarlySuccess = DEFAULTS,
    ) -> None:
        if signal not in get_args(Signal):
            raise UnknownNameError("signal", signal, get_args(Signal))
        if not 0 <= lenience <= 1:
            raise ArgumentError("lenience", "from 0 to 1", lenience)
        if false_kills is not None and not 0 < false_kills < 1:
            raise ArgumentError("false_kills", "between 0 and 1", false_kills)
        if threshold is not None and not math.isfinite(threshold):
            raise ArgumentError("threshold", "a finite number", threshold)
        for name, value in (("patience", patience), ("top", top), ("n_startup_trials", n_startup_trials)):
            check_integer(name, value, 1)
        if checkpoints is not None and not isinstance(checkpoints, Sequence):
            raise ArgumentError("checkpoints", "a sequence of epochs", checkpoints)
        for epoch in checkpoints or ():
            check_integer("checkpoints", epoch, 1)
        self.signal, self.lenience, self.patience, self.top = signal, lenience, patience, top
        self.n_startup_trials, self.threshold, self.false_kills = n_startup_trials, threshold, false_kills
        self.checkpoints = None if checkpoints is None else frozenset(checkpoints)
        self.parameters = parameters
        self._pasts: dict[tuple[str, int, datetime | None, Signal], Past] = {}
        self._compared: dict[tuple[int, ...], int] = {}
        self._warned = False

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        """The same one: all that it remembers is of finished trials, which do not change."""
        del memo
        return self

    @property
    def measures(self) -> tuple[Measure, ...]:
        """What must be recorded for the signal."""
        return () if self.signal == "value" else (Accuracy("validation"), Spectrum())

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether to give up the trial, which runs, after what it has reported and recorded so far."""
        return careful_verdict(type(self).__name__, study, lambda: self._verdict(study, trial) is not None)

    def reason(self, study: Study, trial: FrozenTrial) -> str:
        """Why `prune` gives up the trial."""
        return self._verdict(study, trial) or "it is not given up"

    def _verdict(self, study: Study, trial: FrozenTrial) -> str | None:
        history, gaps = History.of(trial), has_gaps(trial)
        if _has_diverged(trial, history):
            return "it diverged"
        if gaps and self.signal != "value":
            return None
        signal = self._signal(trial, history)
        epoch = trial.last_step if signal == "value" else len(history)
        recent = self._recent(study, trial, history, signal)
        if epoch is None or epoch not in recent:
            return None
        if self.threshold is not None and signal == self.signal:
            return self._below_threshold(study, recent[epoch])
        cost, pasts = _cost(study, trial), self._past_trials(study, trial, signal)
        if not self._may_be_behind(cost, epoch, pasts) or not (best := self._best(pasts)):
            return None
        full = not gaps and len(history) >= self.parameters.t0
        now = spectra_at(history, len(history), self.parameters) if full else None
        return self._will_fail(pasts, best, signal, recent) or self._is_over(
            pasts, cost, trial.last_step, len(history), now
        )

    def _recent(self, study: Study, trial: FrozenTrial, history: History, signal: Signal) -> dict[int, float]:
        """The run's signal at the last `patience` epochs at which it decides, where it has one."""
        epochs = sorted(trial.intermediate_values) if signal == "value" else range(1, len(history) + 1)
        last = [epoch for epoch in epochs if self._decides(epoch)][-self.patience :]
        if signal == "value":
            return {epoch: as_cost(trial.intermediate_values[epoch], sign_of(study)) for epoch in last}
        scores = {
            epoch: score_at(
                signal, history, epoch, spectra_at(history, epoch, self.parameters), self.parameters
            )
            for epoch in last
        }
        return {epoch: score for epoch, score in scores.items() if score is not None}

    def _decides(self, epoch: int) -> bool:
        return self.checkpoints is None or epoch in self.checkpoints

    def _signal(self, trial: FrozenTrial, history: History) -> Signal:
        """The signal that a trial has: its value where what another one is made of was not recorded."""
        if tells(self.signal, history):
            return self.signal
        self._warn_of_fallback(trial)
        return "value"

    def _warn_of_fallback(self, trial: FrozenTrial) -> None:
        if not self._warned:
            columns = " and ".join(column.rstrip(":") for column in COLUMNS[self.signal])
            lacks = f"trial {trial.number} has no columns {columns}"
            warnings.warn(f"GiveUpPruner looks at values instead of {self.signal}: {lacks}", stacklevel=2)
        self._warned = True

    def _below_threshold(self, study: Study, score: float) -> str | None:
        assert self.threshold is not None
        limit = {"s-fv": 1.0 - self.threshold, "s-f": -self.threshold}
        if score < limit.get(self.signal, sign_of(study) * self.threshold):
            return None
        return f"its {self.signal} was not better than {self.threshold:g}"

    def _past_trials(self, study: Study, trial: FrozenTrial, signal: Signal) -> list[Past]:
        """The finished runs that it is compared with, the best first."""
        pasts = []
        for each in comparable(study, trial):
            # Two studies may have the same name, in different storages.
            key = (study.study_name, each.number, each.datetime_complete, signal)
            if key not in self._pasts:
                self._pasts[key] = Past.of(study, each, signal, self.parameters)
            pasts.append(self._pasts[key])
        return sorted(pasts, key=lambda past: past.cost)

    def _may_be_behind(self, cost: float, epoch: int, pasts: list[Past]) -> bool:
        """Whether there are runs to compare with, epochs to save, and the run is not one of the best."""
        return (
            len(pasts) >= max(self.n_startup_trials, self.top)
            and epoch < max(max(past.signals, default=0) for past in pasts)
            and cost > pasts[self.top - 1].cost
        )

    def _best(self, pasts: list[Past]) -> int:
        """How many of the best it must be worse than; 0 if nothing may be given up."""
        if self.false_kills is None:
            return max(self.top, math.ceil(self.lenience * len(pasts)))
        key = tuple(map(id, pasts))  # which _pasts keeps
        if key not in self._compared:
            epochs = sorted({epoch for past in pasts for epoch in past.signals})[:-1]
            deciding = [epoch for epoch in epochs if self._decides(epoch)]
            found = least_lenient(pasts, self.top, self.false_kills, deciding, self.patience)
            self._compared[key] = found or 0
        return self._compared[key]

    def _will_fail(
        self, pasts: list[Past], best: int, signal: Signal, recent: Mapping[int, float]
    ) -> str | None:
        if len(recent) < self.patience:
            return None
        for epoch, score in recent.items():
            there = [past.signals[epoch] for past in pasts if epoch in past.signals][:best]
            if len(there) < self.top or score <= max(there):
                return None
        return f"its {signal} was worse than that of the best {len(there)} at the same epoch"

    def _is_over(
        self, pasts: list[Past], cost: float, step: int | None, epoch: int, now: Spectra | None
    ) -> str | None:
        """Whether it is trained already, and what such runs gained would not make it one of the best."""
        ends = [past.end for past in pasts[: self.top] if past.end is not None]
        if now is None or step is None or not ends:
            return None
        steep, calm = min(end.steepness for end in ends), median(abs(end.shift) for end in ends)

        def is_over(spectra: Spectra | None) -> bool:
            return spectra is not None and spectra.steepness >= steep and abs(spectra.shift) <= calm

        gains = [
            past.costs[step] - past.cost
            for past in pasts
            if past.cost < math.inf and step in past.costs and is_over(past.spectra.get(epoch))
        ]
        ahead = sum(past.costs.get(step, math.inf) < cost for past in pasts)
        if not is_over(now) or min(len(gains), ahead) < self.top:
            return None
        if cost - max(gains) <= pasts[self.top - 1].cost:
            return None
        return f"it is trained already, and {self.top} finished runs are better than it can become"


def _cost(study: Study, trial: FrozenTrial) -> float:
    """Its last value as a cost; infinite if it has none."""
    last = None if trial.last_step is None else trial.intermediate_values[trial.last_step]
    return as_cost(last, sign_of(study))


def _has_diverged(trial: FrozenTrial, history: History) -> bool:
    values = [trial.intermediate_values[trial.last_step]] if trial.last_step is not None else []
    if history.rows:
        values += [history.rows[-1][name] for name in ("train_loss", "val_loss") if name in history.rows[-1]]
    return not all(map(math.isfinite, values))
