"""The tables of the replayed pruners, as rows of text."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import fields
from itertools import chain

from benchmarks.give_up.fronts import (
    ALL_OURS,
    ALL_RIVALS,
    Mean,
    Sweep,
    by_family,
    front,
    mean,
    most_saved_within,
)
from benchmarks.give_up.judged import TOP, Judged, final_accuracy, final_loss, rank
from benchmarks.give_up.rivals import Setting
from benchmarks.give_up.sweep import Spent, count_wrong, spend
from hpo_gn.recorded import RecordedTable

RUNS = (16, 32)
"""Budgets, in runs that are trained to the end."""

Rows = list[list[str]]


def describe(recorded: RecordedTable) -> Iterator[str]:
    """What the table holds."""
    ranked = rank(recorded.runs)
    diverged = len(recorded.runs) - len(ranked)
    learned = sum(final_accuracy(run) > 0.5 for run in ranked)
    losses = ", ".join(f"{final_loss(run):.4f}" for run in ranked[:TOP])
    yield (
        f"{len(recorded.runs)} runs of {recorded.epochs} epochs: {diverged} diverged, {learned} ended above "
        f"50 % validation accuracy; the best final validation losses are {losses}"
    )
    yield f"made by  {recorded.header['command']}"


def settings_table(swept: Sweep) -> Rows:
    """The means over pools of each setting; an asterisk where it is on its family's front."""
    columns = ("pruner", "setting", "saved", "loss regret", "accuracy regret, points", "rank")
    rows = [[*columns, "top 3 given up", "of those given up, top 3", "epoch", "before the drop"]]
    fronts = {setting for group in by_family(swept).values() for setting in front(group, "loss_regret")}
    for setting, judged in swept.items():
        figures = {each.name: mean(getattr(pool, each.name) for pool in judged) for each in fields(Judged)}
        rows.append(
            [
                setting.family + " *" * (setting in fronts),
                setting.arguments,
                f"{figures['saved'].value:.3f}",
                _with_interval(figures["loss_regret"], ".4f"),
                f"{100 * figures['accuracy_regret'].value:.2f}",
                f"{figures['rank'].value:.2f}",
                _with_interval(figures["lost"], ".3f"),
                *(_known(figures[name].value) for name in ("wrong", "epoch", "before_drop")),
            ]
        )
    return rows


def within_table(swept: Sweep, figure: str, bounds: Sequence[float], unit: float) -> Rows:
    """The most that each family saves within bounds of a figure.

    Args:
        swept: all settings.
        figure: a field of `Judged`.
        bounds: in per cent of a unit.
        unit: of the figure.
    """
    middle = len(bounds) // 2
    columns = [f"≤ {bound:g} %" for bound in bounds]
    rows = [["pruner", *columns, f"settings chosen for {columns[middle]}"]]
    found = {
        name: [most_saved_within(group, figure, bound / 100 * unit) for bound in bounds]
        for name, group in by_family(swept).items()
    }
    for name, within in found.items():
        cells = [f"{each.saved:.3f} ({100 * each.figure / unit:.2f} %)" for each in within]
        rows.append([name, *cells, "; ".join(dict.fromkeys(map(str, within[middle].settings)))])
    if {ALL_OURS, ALL_RIVALS} <= set(found):
        pairs = zip(found[ALL_OURS], found[ALL_RIVALS], strict=True)
        rows.append(["ours / rivals", *(_ratio(ours.saved, rivals.saved) for ours, rivals in pairs), ""])
    return rows


def budget_table(recorded: RecordedTable, some: Sequence[Setting], orders: int) -> Rows:
    """What fixed budgets find, the epochs saved becoming new runs."""
    budgets = [runs * recorded.epochs for runs in RUNS]
    columns = [(f"{budget} epochs: runs begun", "loss", "accuracy, %") for budget in budgets]
    rows = [["pruner", *chain.from_iterable(columns)]]
    for setting in some:
        found = [spend(recorded, setting, budget, orders) for budget in budgets]
        rows.append([str(setting), *chain.from_iterable(map(_spent, found))])
    return rows


def _spent(found: Sequence[Spent]) -> tuple[str, str, str]:
    ran_out = sum(each.ran_out for each in found)
    return (
        f"{mean(each.tried for each in found).value:.1f}" + (f" ({ran_out} ran out)" if ran_out else ""),
        _with_interval(mean(each.loss for each in found), ".4f"),
        f"{100 * mean(each.accuracy for each in found).value:.2f}",
    )


def count_table(recorded: RecordedTable, some: Sequence[Setting]) -> Rows:
    """How many of the runs given up were among the best of the whole table."""
    tops = sorted({TOP, max(TOP, len(recorded.runs) // 10)})
    rows = [["pruner", "given up", *(f"of the best {top}, bound" for top in tops)]]
    for setting in some:
        counts = [count_wrong(recorded, setting, top) for top in tops]
        cells = [f"{each.wrong} (≤ {100 * each.high:.1f} %)" if each.given_up else "—" for each in counts]
        rows.append([str(setting), str(counts[0].given_up), *cells])
    return rows


def _with_interval(figure: Mean, digits: str) -> str:
    return f"{figure.value:{digits}} [{figure.low:{digits}}, {figure.high:{digits}}]"


def _ratio(ours: float, rivals: float) -> str:
    return f"{ours / rivals:.2f} ×" if rivals else "—"


def _known(value: float) -> str:
    return "—" if math.isnan(value) else f"{value:.3g}"
