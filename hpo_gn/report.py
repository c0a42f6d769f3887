"""A result as a person reads it."""

from rich.console import Group, RenderableType
from rich.table import Table

from hpo_gn.fidelity import format_epochs
from hpo_gn.result import Result


def describe(result: Result) -> RenderableType:
    """The winner, beside the initial settings if they were retrained, what was spent, and the verdict."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    sides = {"winner": result.winner} | ({"initial settings": result.initial} if result.initial else {})
    for column in ("", *sides):
        table.add_column(column)
    for name in result.winner.params:
        table.add_row(name, *(_number(side.params[name]) for side in sides.values()))
    table.add_row("test accuracy", *map(str, sides.values()))
    search, retraining = result.search, result.retraining
    measured = f", {format_epochs(search.measuring)} of them on measuring" if search.measuring else ""
    trials = ", ".join(f"{count} {state}" for state, count in result.trials.items())
    lines = [f"Give-up: {result.pruner} {result.false_kills}."] if result.false_kills else []
    return Group(
        "",
        f"Search: {format_epochs(search.spent)} of {search.limit} GPU×epochs spent{measured}, "
        f"{format_epochs(search.held)} held; trials: {trials}; "
        f"{search.training_s:.0f} s training, {search.measuring_s:.0f} s measuring.",
        *lines,
        f"Winner: trial {result.trial} of {result.searcher}, {result.objective} = {result.value:.6g}.",
        f"Retraining: {result.epochs} epochs on the full training set, "
        f"{len(result.winner.test_accuracy)} seeds{' each' if result.initial else ''}: "
        f"{format_epochs(retraining.spent)} GPU×epochs.",
        "",
        table,
        "",
        result.verdict,
    )


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
