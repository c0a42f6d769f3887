"""What a comparison says in short: the first sentence of its page, and a terminal's table."""

import math
from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table

from hpo_gn.comparison.names import Names, points
from hpo_gn.comparison.summary import Against, Method, MethodSummary, Summary


def lead_of(summary: Summary, against: Sequence[Against]) -> str:
    """The verdicts in one sentence."""
    if not against:
        return f"Only {summary.baseline} was run as an objective, so there is nothing to compare it with."
    words = {
        verdict: [_name(each.method) for each in against if each.difference.verdict == verdict]
        for verdict in ("helped", "hurt", "no evidence", "too few to tell")
    }
    parts = [
        f"{verdict}: {', '.join(names) if len(names) <= 6 else f'{len(names)} of {len(against)} comparisons'}"
        for verdict, names in words.items()
        if names
    ]
    verdicts = f"Against {summary.baseline}, in test accuracy at equal budget: {'; '.join(parts)}."
    return verdicts + _untested(summary)


def _untested(summary: Summary) -> str:
    """How many winners have a test accuracy, where not all have."""
    tested = sum(not math.isnan(each.score) for each in summary.results)
    if tested == len(summary.results):
        return ""
    everything = len(summary.results)
    return f" {tested} of {everything} winners were tested; the others are in no figure of test accuracy."


def _name(method: Method) -> str:
    objective, searcher, pruner = method
    return f"{objective} with {searcher}" + ("" if pruner == "none" else f" and {pruner}")


def shortened(summary: Summary, against: Sequence[Against]) -> RenderableType:
    """What a terminal shows: the methods, if they are not too many for it, and the sentence."""
    if len(summary.methods) > _MOST_METHODS:
        return Group("", lead_of(summary, against))
    table = Table(box=None, pad_edge=False, header_style="bold")
    names = Names(summary)
    for column in (*names.heads(), "test accuracy, %", "points", "interval", "verdict"):
        table.add_column(column, overflow="fold")
    judged = {each.method: each.difference for each in against}
    found = summary.of_methods()
    for method in summary.methods:
        mine = [each for each in found if each.method == method]
        difference = judged.get(method)
        told = (
            ("", "", "baseline" if method[0] == summary.baseline else "no counterpart")
            if difference is None
            else (
                points(difference.mean),
                f"{points(difference.low)} to {points(difference.high)}",
                difference.verdict,
            )
        )
        table.add_row(*names.of(method), _mean_accuracy(mine), *told)
    return Group("", table, "", lead_of(summary, against))


_MOST_METHODS = 24


def _mean_accuracy(found: Iterable[MethodSummary]) -> str:
    accuracies = [each.accuracy for each in found if not math.isnan(each.accuracy)]
    return f"{100 * sum(accuracies) / len(accuracies):.2f}" if accuracies else "not tested"
