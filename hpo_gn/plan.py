"""What a budget buys, before anything runs: each searcher's trials, rungs, rounds and time."""

import heapq
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from optuna.samplers import BaseSampler
from rich.console import Group, RenderableType
from rich.table import Table

from hpo_gn.advice import advise
from hpo_gn.budget.arguments import checked_integer
from hpo_gn.durations import format_clock
from hpo_gn.errors import ArgumentError, HpoGnError, UnknownNameError
from hpo_gn.experiment import Experiment
from hpo_gn.probe import PROBED_EPOCHS, Probe
from hpo_gn.registry import names
from hpo_gn.retraining import retraining_epochs
from hpo_gn.schedule import Schedule, Simulation


@dataclass(frozen=True)
class SearcherPlan:
    """What a searcher would run.

    Args:
        name: the searcher.
        configurations: distinct ones.
        trials: these and their promotions.
        rungs: (a trial's epochs, how many trials), by epochs.
        rounds: of trials proposed together.
        spent, unspent: of the search's budget, in GPU×epochs.
        warnings: why it makes no sense at this budget, sentences without a full stop.
        unavailable: why the searcher cannot be made; then everything else is empty.
        work_s: seconds of training and measuring, on one worker; None without a probe.
        elapsed_s: the same on all workers, each round waiting for its last trial.
    """

    name: str
    configurations: int = 0
    trials: int = 0
    rungs: tuple[tuple[int, int], ...] = ()
    rounds: int = 0
    spent: float = 0
    unspent: float = 0
    warnings: tuple[str, ...] = ()
    unavailable: str | None = None
    work_s: float | None = None
    elapsed_s: float | None = None


@dataclass(frozen=True)
class Plan:
    """What a budget buys, if no trial fails.

    Args:
        budget: in GPU×epochs.
        held_back: what of it the retraining keeps.
        retraining: GPU×epochs on the full training set, whoever pays for them.
        seeds: retrainings of the winner, and of the initial settings.
        epochs: of a retraining.
        workers: how many work at once.
        probe: what the times are derived from; they are those of the initial settings, as if workers did not
            slow each other down.
        retraining_work_s, retraining_elapsed_s: of the retraining, as of a searcher.
        searchers: a plan for each.
        pruner: what would give up runs, which is not foreseen.
    """

    budget: int
    held_back: int
    retraining: int
    seeds: int
    epochs: int
    workers: int
    probe: Probe | None
    retraining_work_s: float | None
    retraining_elapsed_s: float | None
    searchers: tuple[SearcherPlan, ...]
    pruner: str | None = None

    def to_json(self) -> str:
        """The plan as indented JSON."""
        return json.dumps(asdict(self), indent=2)


def plan(
    experiment: Experiment,
    *,
    budget: int,
    seeds: int = 3,
    include_retraining: bool = False,
    searchers: Sequence[str] | None = None,
    probe: Probe | None = None,
    workers: int = 1,
) -> Plan:
    """Plan a search by each searcher; nothing is trained, and no data are read.

    A searcher may have a method `advice(rounds) -> str | None`, which gets each trial's epochs, a sequence a
    round, and says why such a search makes no sense. One that assigns epochs may have a method
    `schedule_state(study) -> Hashable`, what its next assignments depend on beside the budget: where that
    comes back the schedule repeats itself, and a long one is planned at once.

    Args:
        experiment: what would be searched; its own searcher does not count.
        budget: in GPU×epochs.
        seeds: retrainings of the winner, and of the initial settings.
        include_retraining: whether the budget pays for them.
        searchers: names; with None every registered one.
        probe: for times, and for what measuring costs where it is charged; without one that counts as
            nothing.
        workers: how many work at once.

    Raises:
        ArgumentError: a number below 1.
        UnknownNameError: a searcher that is not registered.
    """
    for name, value in (("budget", budget), ("seeds", seeds), ("workers", workers)):
        if value < 1:
            raise ArgumentError(name, "1 or more", value)
    checked_integer("budget", budget)
    experiment.stopping()  # a pruner that cannot be made is said before anything else
    planner = _Planner(experiment, budget, seeds, include_retraining, probe, workers)
    chosen = names("searcher") if searchers is None else dict.fromkeys(searchers)
    retraining_s = None if probe is None else probe.training_s * probe.full_samples / probe.samples
    return Plan(
        budget=budget,
        held_back=planner.held_back(experiment.epochs),
        retraining=retraining_epochs(seeds, experiment.epochs, experiment.gpus),
        seeds=seeds,
        epochs=experiment.epochs,
        workers=workers,
        probe=probe,
        retraining_work_s=retraining_s and 2 * seeds * experiment.epochs * retraining_s,
        retraining_elapsed_s=retraining_s
        and math.ceil(2 * seeds / workers) * experiment.epochs * retraining_s,
        searchers=tuple(planner.plan(name) for name in chosen),
        pruner=experiment.pruner,
    )


@dataclass(frozen=True)
class _Planner:
    experiment: Experiment
    budget: int
    seeds: int
    include_retraining: bool
    probe: Probe | None
    workers: int

    def held_back(self, epochs: int) -> int:
        if not self.include_retraining:
            return 0
        return retraining_epochs(self.seeds, epochs, self.experiment.gpus)

    def plan(self, name: str) -> SearcherPlan:
        try:
            sampler = replace(self.experiment, searcher=name).sampler()
        except UnknownNameError:
            raise
        except (HpoGnError, ImportError) as error:
            return SearcherPlan(name, unavailable=str(error).splitlines()[0])
        limit = self.budget - self.held_back(self.experiment.epochs)
        simulation = self._simulation(sampler)
        schedule = simulation.run(limit)
        trials = schedule.trials
        return SearcherPlan(
            name=name,
            configurations=sum(not trial.promoted for trial in trials),
            trials=len(trials),
            rungs=tuple(sorted(Counter(trial.epochs for trial in trials).items())),
            rounds=len(schedule.rounds),
            spent=schedule.spent,
            unspent=max(0, limit) - schedule.spent,
            warnings=tuple(self._warnings(simulation, schedule)),
            work_s=self._seconds(schedule, 1),
            elapsed_s=self._seconds(schedule, self.workers),
        )

    def _simulation(self, sampler: BaseSampler) -> Simulation:
        experiment, probe = self.experiment, self.probe
        measuring = None
        if experiment.charge == "measures":
            measuring = probe.measuring_s / probe.training_s if probe else 0.0
        return Simulation(
            sampler,
            epochs=experiment.epochs,
            round_size=experiment.round_size,
            gpus=experiment.gpus,
            from_scratch=experiment.from_scratch,
            resumable=probe is None or probe.resumable,
            measuring=measuring,
        )

    def _seconds(self, schedule: Schedule, workers: int) -> float | None:
        """Workers take a round's trials in turn."""
        if self.probe is None:
            return None
        elapsed = 0
        for proposed in schedule.rounds:
            busy = [0] * workers
            for trial in proposed:
                heapq.heapreplace(busy, busy[0] + trial.runs)
            elapsed += max(busy)
        return elapsed * (self.probe.training_s + self.probe.measuring_s)

    def _warnings(self, simulation: Simulation, schedule: Schedule) -> list[str]:
        warnings = []
        if self.experiment.charge == "measures" and self.probe is None:
            warnings.append("measuring is charged as well, which only a probe can foresee")
        advice = advise(simulation, schedule, self.budget, self.held_back)
        return warnings if advice is None else [*warnings, advice]


def describe(plan: Plan) -> RenderableType:
    """A row a searcher, then the retraining, the probe and the warnings."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="bold")
    table.add_column("searcher", no_wrap=True)
    for column in ("configurations", "trials", "rungs", "rounds", "spent", "unspent"):
        table.add_column(column, justify="right", no_wrap=True)
    if plan.probe is not None:
        table.add_column("time", justify="right", no_wrap=True)
    for each in plan.searchers:
        table.add_row(*_row(each))
    retraining = (
        f"Retraining: 2 × {plan.seeds} models of {plan.epochs} epochs on the full training set, "
        f"{plan.retraining} GPU×epochs"
    )
    return Group(
        "",
        table,
        "",
        f"Budget: {plan.budget} GPU×epochs{_held_back(plan)}. Rungs: epochs × trials.",
        f"{retraining}{_about(plan.retraining_elapsed_s)}.",
        *([] if plan.probe is None else [_probed(plan.probe, plan.workers)]),
        *([] if plan.pruner is None else [f"Epochs that {plan.pruner} saves become more configurations."]),
        *(f"{each.name}: {each.unavailable}." for each in plan.searchers if each.unavailable),
        *(f"{each.name}: {warning}." for each in plan.searchers for warning in each.warnings),
    )


def _held_back(plan: Plan) -> str:
    return f", {plan.held_back} of them held back for the retraining" if plan.held_back else ""


def _row(each: SearcherPlan) -> list[str]:
    if each.unavailable:
        return [each.name, "—"]
    rungs = "\n".join(f"{epochs} × {count}" for epochs, count in each.rungs)
    counts = [str(each.configurations), str(each.trials), rungs, str(each.rounds)]
    return [each.name, *counts, f"{each.spent:g}", f"{each.unspent:g}", _time(each.elapsed_s)]


def _probed(probe: Probe, workers: int) -> str:
    return (
        f"Times: {workers} at once, by {PROBED_EPOCHS} probing epochs of the initial settings: "
        f"{probe.training_s:.3g} s training and {probe.measuring_s:.3g} s measuring an epoch."
    )


def _about(seconds: float | None) -> str:
    return "" if seconds is None else f", about {_time(seconds)}"


def _time(seconds: float | None) -> str:
    return "" if seconds is None else format_clock(seconds)
