"""A status as a person reads it, in 100 columns."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hpo_gn.budget import Account
from hpo_gn.durations import format_clock
from hpo_gn.fidelity import format_epochs
from hpo_gn.status.model import OVER, MeasureStatus, StageStatus, Status, TrialStatus, WorkerStatus, any_works

NEWEST = 20
"""Rows of a table that is cut."""

_BAR_CELLS = 60
_OWNER_CELLS = 32
_URGENCY = ("dead", "silent", "lapsed", "running", "working", "waiting", "idle")
_ALARMING = {"dead": "red", "silent": "red", "lapsed": "red", "fail": "yellow"}


def describe(status: Status, *, every: bool = False) -> RenderableType:
    """Budget, workers, trials and measures of the search, and of its retraining if that has begun.

    Args:
        status: what to show.
        every: show every worker and trial, not just the most urgent and the newest.
    """
    stages = [each for each in (status.search, status.retraining) if each is not None]
    parts = [part for stage in stages for part in _stage(stage, every=every)]
    now = OVER if status.stage == OVER else f"in its {status.stage}"
    return Group(Text(f"{status.study} in {status.storage}: {now}, {status.read_at}", style="bold"), *parts)


def format_seconds(seconds: float) -> str:
    """A duration of 0 or more seconds: "0.12 s", "3.4 s", "12 s" and, from a minute on, "0:01:30"."""
    if seconds < 59.5:
        digits = 0 if seconds >= 9.95 or seconds == 0 else 1 if seconds >= 0.995 else 2
        return f"{seconds:.{digits}f} s"
    return format_clock(seconds)


def _stage(stage: StageStatus, *, every: bool) -> Iterator[RenderableType]:
    yield Text()
    yield _bar(stage.account)
    for line in (_budget(stage), _trials(stage), _given_up(stage), _pace(stage), _time(stage), _dead(stage)):
        if line is not None:
            yield line
    for table in (_worker_table(stage.workers, every=every), _trial_table(stage.trials, every=every)):
        yield Text()
        yield table
    if stage.measures:
        yield Text()
        yield _measure_table(stage.measures)


def _bar(account: Account) -> Text:
    spent = round(_BAR_CELLS * account.spent / account.limit)
    held = round(_BAR_CELLS * (account.spent + account.held) / account.limit) - spent
    bar = Text("█" * spent, style="green")
    return bar.append("▒" * held, style="yellow").append("░" * (_BAR_CELLS - spent - held), style="dim")


def _budget(stage: StageStatus) -> Text:
    account = stage.account
    spent, held, left = (format_epochs(each) for each in (account.spent, account.held, account.left))
    measuring = f", {format_epochs(account.measuring)} of them for measuring" if account.measuring else ""
    title = stage.title[0].upper() + stage.title[1:]
    spare = "" if stage.is_search else " (what the trials do not need is spare)"
    return Text(
        f"{title}: {spent} of {account.limit} GPU×epochs spent{measuring}; {held} held, {left} left{spare}."
    )


def _trials(stage: StageStatus) -> Text:
    last = "Trials"
    if stage.is_search:
        last = f"Round {stage.round}: {_counts(stage.round_states)}; in all" if stage.round > 1 else "Round 1"
    best = ""
    if stage.best_value is not None:
        best = f"; the best is trial {stage.best_trial} with {stage.best_value:.4g}"
    return Text(f"{last}: {_counts(stage.states)}{best}.")


def _given_up(stage: StageStatus) -> Text | None:
    return None if stage.false_kills is None else Text(f"Give-up: {stage.false_kills}.")


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in counts.items()) or "none"


def _pace(stage: StageStatus) -> Text | None:
    if not stage.running:
        return None
    if not any_works(stage.workers):
        return Text("Pace: none, no worker holds a trial now.")
    if stage.pace is None or stage.to_go_s is None:
        return Text("Pace: unknown, no epoch began and ended in the last minutes.")
    return Text(
        f"Pace: {stage.pace.epochs_per_s:.3g} epochs a second over the last "
        f"{format_seconds(stage.pace.over_s)}; about {format_seconds(stage.to_go_s)} to go at that."
    )


def _time(stage: StageStatus) -> Text:
    share = stage.measuring_share
    of_it = "" if share is None else f", {100 * share:.0f} % of both"
    return Text(
        f"Time: {format_seconds(stage.training_s)} of training, "
        f"{format_seconds(stage.measuring_s)} of measuring{of_it}."
    )


def _dead(stage: StageStatus) -> Text | None:
    parts = [
        f"trial {trial.trial} {format_seconds(-(trial.lease_left_s or 0))} ago" for trial in stage.lapsed
    ]
    lapsed = f"Leases that lapsed and are not settled yet: {', '.join(parts)}. " if parts else ""
    settled = f"Holds of dead workers that were settled: {stage.deaths}." if stage.deaths else ""
    return Text(lapsed + settled, style="red" if lapsed else "") if lapsed or settled else None


def _worker_table(workers: Sequence[WorkerStatus], *, every: bool) -> RenderableType:
    ordered = sorted(workers, key=lambda worker: (_URGENCY.index(worker.state), worker.last_seen_s))
    shown = ordered if every else ordered[:NEWEST]
    table = _table(
        f"Workers: {_counts(Counter(worker.state for worker in ordered))}{_rest(ordered, shown)}",
        ("worker", "state", "trial>", "lease>", "epochs>", "training>", "measuring>", "seen>", "deaths>"),
    )
    for worker in shown:
        table.add_row(
            _owner(worker.owner),
            _word(worker.state),
            ", ".join(map(str, worker.trials)),
            _lease(worker.lease_left_s),
            str(worker.epochs),
            format_seconds(worker.training_s),
            format_seconds(worker.measuring_s),
            f"{format_seconds(worker.last_seen_s)} ago",
            str(worker.deaths or ""),
        )
    return table


def _trial_table(trials: Sequence[TrialStatus], *, every: bool) -> RenderableType:
    ordered = sorted(trials, key=lambda trial: (_urgency(trial.state), -trial.trial))
    shown = ordered if every else ordered[:NEWEST]
    table = _table(
        f"Trials: {len(ordered)}{_rest(ordered, shown)}",
        ("trial>", "state", "epochs>", "value>", "spent>", "held>", "training>", "measuring>", "by, or why"),
    )
    for trial in shown:
        table.add_row(
            str(trial.trial),
            _word(trial.state),
            f"{trial.epochs_done}/{'?' if trial.epochs is None else trial.epochs}",
            "" if trial.value is None else f"{trial.value:.4g}",
            format_epochs(trial.spent),
            format_epochs(trial.held),
            format_seconds(trial.training_s),
            format_seconds(trial.measuring_s),
            _remark(trial),
        )
    return table


def _measure_table(measures: Sequence[MeasureStatus]) -> RenderableType:
    both = sum(measure.seconds for measure in measures)
    table = _table(
        f"Measures: {format_seconds(both)} in the trials' histories",
        ("measure or split's pass", "epochs>", "seconds>", "share>", "ms an epoch>", "forward>", "backward>"),
    )
    for measure in measures:
        table.add_row(
            Text(measure.name),
            str(measure.epochs),
            f"{measure.seconds:.1f}",
            f"{100 * measure.seconds / both:.0f} %" if both else "",
            f"{1e3 * measure.seconds / measure.epochs:.3g}",
            f"{measure.forward / measure.epochs:.3g}",
            f"{measure.backward / measure.epochs:.3g}",
        )
    return table


def _table(title: str, columns: Sequence[str]) -> Table:
    """A table; a column whose name ends in ">" is aligned to the right, the last one takes what is left."""
    table = Table(box=None, pad_edge=False, header_style="bold", title=title, title_justify="left")
    table.title_style = "bold"
    for column in columns:
        name = column.removesuffix(">")
        justify = "left" if name == column else "right"
        table.add_column(name, justify=justify, no_wrap=True, overflow="ellipsis")  # type: ignore[arg-type]
    if not columns[-1].endswith(">"):
        table.expand, table.columns[-1].ratio = True, 1  # a long text there must not squeeze the others
    return table


def _rest(ordered: Sequence[object], shown: Sequence[object]) -> str:
    hidden = len(ordered) - len(shown)
    return f"; {hidden} more with --all" if hidden else ""


def _urgency(state: str) -> int:
    return _URGENCY.index(state) if state in _URGENCY else len(_URGENCY)


def _word(state: str) -> Text:
    return Text(state, style=_ALARMING.get(state, ""))


def _lease(lease_left_s: float | None) -> str:
    if lease_left_s is None:
        return ""
    return f"lapsed {format_seconds(-lease_left_s)} ago" if lease_left_s < 0 else format_seconds(lease_left_s)


def _remark(trial: TrialStatus) -> Text:
    deaths = f"{trial.deaths} died of it" if trial.deaths else ""
    return Text("; ".join(part for part in (_owner(trial.owner or ""), deaths, trial.reason) if part))


def _owner(owner: str) -> str:
    """A worker's name, cut in the middle: its machine and its token tell it from others."""
    half = (_OWNER_CELLS - 1) // 2
    return owner if len(owner) <= _OWNER_CELLS else f"{owner[:half]}…{owner[-half:]}"
