"""The page of a comparison: did the other objectives help, and which method is best at this budget."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table as RichTable

from hpo_gn.comparison.drawings import anytime, differences, ranks_drawn
from hpo_gn.comparison.result import CellResult
from hpo_gn.comparison.summary import Against, Method, MethodSummary, Summary
from hpo_gn.fidelity import format_epochs
from hpo_gn.page.document import Section, Table, write_document
from hpo_gn.statistics.paired import FEWEST_PAIRS

STEM = "comparison"
_MOST_ROWS = 200
"""Cells that the page lists; all are in the file of results."""


def write_report(
    results: Sequence[CellResult],
    folder: Path,
    title: str,
    *,
    baseline: str | None = None,
    missing: Sequence[str] = (),
) -> tuple[Path, RenderableType]:
    """Write `comparison.html`, `.md` and `.tex`.

    Args:
        results: of the cells that are there.
        folder: where.
        title: of the page.
        baseline: the objective that the others are compared with; the first result's by default.
        missing: commands that run the cells that are not there.

    Returns:
        The page, and what a terminal shows of it.

    Raises:
        DataError: there are no results, two of one cell, or cells of different budgets.
        UnknownNameError: no result is of the baseline.
    """
    summary = Summary(results, baseline)
    against = summary.against_baseline()
    sections = [
        _verdicts(summary, against),
        _accuracies(summary),
        _ranks(summary),
        _anytime(summary),
        _overtuning(summary),
        _costs(summary, against),
        _failures(summary, missing),
        _cells(summary),
    ]
    lead = _lead(summary, against)
    page, *_ = write_document(folder, STEM, title, [each for each in sections if each is not None], lead)
    return page, _short(summary, against, lead)


def _lead(summary: Summary, against: Sequence[Against]) -> str:
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
    return f"Against {summary.baseline}, in test accuracy at equal budget: {'; '.join(parts)}."


def _name(method: Method) -> str:
    objective, searcher, pruner = method
    return f"{objective} with {searcher}" + ("" if pruner == "none" else f" and {pruner}")


def _verdicts(summary: Summary, against: Sequence[Against]) -> Section | None:
    if not against:
        return None
    rows = [
        (
            *each.method,
            str(each.difference.pairs),
            _points(each.difference.mean),
            f"[{_points(each.difference.low)}, {_points(each.difference.high)}]",
            _p(each.p),
            _percent(each.difference.wins),
            _number(each.difference.standardized, 2),
            _number(each.time, 2),
            each.difference.verdict,
        )
        for each in against
    ]
    columns = (
        *("objective", "searcher", "pruner", "pairs", "points", "interval", "p", "wins", "d"),
        *("time", "verdict"),
    )
    confidence = against[0].difference.confidence
    note = (
        f"Points of test accuracy over {summary.baseline} with the same searcher and pruner, in pairs of the "
        f"same task and seed. Intervals: bootstrap at {100 * confidence:.4g} %, so that all {len(against)} "
        "together hold at 95 % (Bonferroni); p: sign-flip test, corrected by Holm. Wins: share of pairs, "
        "ties half. d: mean over standard deviation. Time: of the search, over the baseline's, median over "
        "pairs."
    )
    text = (
        "Helped or hurt means that the interval leaves out 0; no evidence, that it does not; too few to "
        f"tell, that there are fewer than {FEWEST_PAIRS} pairs. A winner whose training failed, and a search "
        "without a winner, count as the accuracy of always naming the most frequent class.",
        _scope(summary),
    )
    table = Table(f"Every objective against {summary.baseline}", columns, rows, note)
    return Section("Did it help?", text, (table,), (differences(summary.baseline, against),))


def _scope(summary: Summary) -> str:
    tasks = "; ".join(f"{model} on {data}" for model, data in summary.tasks)
    replayed = all(each.replayed for each in summary.results)
    how = "Trainings were looked up in a recorded table" if replayed else "Every training was run"
    return (
        f"{how}. {len(summary.results)} searches of {summary.budget} GPU×epochs each; tasks: {tasks}. What "
        "is said of few tasks holds for these alone."
    )


def _accuracies(summary: Summary) -> Section:
    found = {(each.method, each.task): each for each in summary.of_methods()}
    tasks = [f"{model}, {data}" for model, data in summary.tasks]
    rows = [
        (*method, *(_accuracy(found.get((method, task))) for task in summary.tasks))
        for method in summary.methods
    ]
    note = (
        "Test accuracy in %: mean ± standard deviation over the searches' seeds (n), each the mean of its "
        "winner's retrainings."
    )
    table = Table("Test accuracy of the winners", ("objective", "searcher", "pruner", *tasks), rows, note)
    return Section("Test accuracy", tables=(table,))


def _accuracy(found: MethodSummary | None) -> str:
    if found is None:
        return "not run"
    if math.isnan(found.accuracy):
        return "not tested"
    spread = "" if math.isnan(found.deviation) else f" ± {100 * found.deviation:.2f}"
    return f"{100 * found.accuracy:.2f}{spread} ({found.cells - found.untested})"


def _ranks(summary: Summary) -> Section | None:
    methods, ranks = summary.ranks()
    if len(methods) < 3 or ranks.blocks < 2:
        return None
    order = sorted(range(len(methods)), key=lambda index: float(ranks.average[index]))
    rows = [(*methods[index], f"{ranks.average[index]:.2f}") for index in order]
    verdict = "differ" if ranks.p < 0.05 else "are not shown to differ"
    text = (
        f"Over {ranks.blocks} blocks, a task and a seed each, the methods {verdict} (Friedman p: "
        f"{_p(ranks.p)}). Average ranks that differ by less than {ranks.critical_difference:.2f} are "
        "not told apart (Nemenyi, 5 %). Seeds of one task count as blocks of their own.",
    )
    table = Table("Average ranks, 1 is best", ("objective", "searcher", "pruner", "rank"), rows)
    return Section("Ranks", text, (table,), (ranks_drawn(methods, ranks),))


def _anytime(summary: Summary) -> Section:
    text = (
        "The incumbent is the best configuration by the search's own objective at that moment. Lines are "
        "means over seeds, bands 95 % bootstrap intervals of the mean. Only the first eight methods of a "
        "task are drawn.",
    )
    return Section("Anytime curves", text, figures=tuple(anytime(summary)))


def _overtuning(summary: Summary) -> Section | None:
    found = [each for each in summary.of_methods() if not math.isnan(each.overtuning)]
    if not found:
        return None
    rows = [
        (*each.method, *each.task, _points(each.overtuning), _percent(each.overtuned), str(each.cells))
        for each in found
    ]
    columns = ("objective", "searcher", "pruner", "model", "data", "points", "overtuned", "seeds")
    text = (
        "Overtuning is the test accuracy of the best earlier incumbent less that of the one chosen in the "
        "end: what the search lost by going on. Only incumbents whose test accuracy is known count.",
    )
    return Section("Overtuning", text, (Table("Overtuning, mean over seeds", columns, rows),))


def _costs(summary: Summary, against: Sequence[Against]) -> Section:
    times = {each.method: each.time for each in against}
    rows = [
        (
            *each.method,
            *each.task,
            f"{each.spent:.1f}",
            f"{each.configurations:.1f}",
            f"{each.seconds:.1f}",
            _percent(each.measuring),
            _number(times.get(each.method, math.nan), 2),
        )
        for each in summary.of_methods()
    ]
    columns = (
        *("objective", "searcher", "pruner", "model", "data", "GPU×epochs", "configurations", "seconds"),
        *("measuring", "time"),
    )
    note = "Of the search alone, means over seeds. Time: over the baseline objective's, median over pairs."
    return Section("What it cost", tables=(Table("Cost of the searches", columns, rows, note),))


def _failures(summary: Summary, missing: Sequence[str]) -> Section | None:
    failed = [each for each in summary.results if each.failure is not None or each.failed_retrainings]
    if not failed and not missing:
        return None
    rows = [
        (
            *each.labels.method,
            *each.labels.task,
            str(each.labels.seed),
            each.failure or f"{each.failed_retrainings} retrainings failed",
        )
        for each in failed
    ]
    columns = ("objective", "searcher", "pruner", "model", "data", "seed", "why")
    text = [f"{len(failed)} of {len(summary.results)} cells failed, wholly or in part; they count as chance."]
    if missing:
        text.append(f"{len(missing)} cells are missing and in no figure; these commands run them.")
    tables = (Table("Failed cells", columns, rows[:_MOST_ROWS]),) if rows else ()
    return Section("Failed and missing", tuple(text), tables, commands=tuple(missing[:_MOST_ROWS]))


def _cells(summary: Summary) -> Section:
    rows = [
        (
            *each.labels.method,
            *each.labels.task,
            str(each.labels.seed),
            "" if math.isnan(each.score) else f"{100 * each.score:.2f}",
            "failed" if each.failure else f"{each.incumbents[-1].val_loss:.4f}",
            format_epochs(round(each.spent, 1)),
            ", ".join(f"{name} {_setting(value)}" for name, value in each.params.items()),
        )
        for each in summary.results[:_MOST_ROWS]
    ]
    columns = (
        *("objective", "searcher", "pruner", "model", "data", "seed", "test accuracy, %"),
        *("validation loss", "GPU×epochs", "winner"),
    )
    shown = len(rows) if len(rows) == len(summary.results) else f"{len(rows)} of {len(summary.results)}"
    return Section("Every cell", tables=(Table(f"Cells: {shown}", columns, rows),))


def _short(summary: Summary, against: Sequence[Against], lead: str) -> RenderableType:
    """What a terminal shows."""
    table = RichTable(box=None, pad_edge=False, header_style="bold")
    for column in ("objective", "searcher", "pruner", "test accuracy, %", "points", "interval", "verdict"):
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
                _points(difference.mean),
                f"{_points(difference.low)} to {_points(difference.high)}",
                difference.verdict,
            )
        )
        table.add_row(*method, _mean_accuracy(mine), *told)
    return Group("", table, "", lead)


def _mean_accuracy(found: Iterable[MethodSummary]) -> str:
    accuracies = [each.accuracy for each in found if not math.isnan(each.accuracy)]
    return f"{100 * sum(accuracies) / len(accuracies):.2f}" if accuracies else "not tested"


def _points(share: float) -> str:
    return "—" if math.isnan(share) else f"{100 * share:+.2f}"


def _percent(share: float) -> str:
    return "—" if math.isnan(share) else f"{100 * share:.1f} %"


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else _number(p, 3)


def _number(number: float, digits: int) -> str:
    return "—" if math.isnan(number) else f"{number:.{digits}f}"


def _setting(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
