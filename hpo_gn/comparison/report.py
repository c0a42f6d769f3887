"""The page of a comparison: did the other objectives help, and which method is best at this budget."""

import math
from collections.abc import Sequence
from pathlib import Path

from rich.console import RenderableType

from hpo_gn.comparison.drawings import anytime, differences, ranks_drawn
from hpo_gn.comparison.names import Names, number, p_value, percent, points
from hpo_gn.comparison.result import CellResult
from hpo_gn.comparison.shortened import lead_of, shortened
from hpo_gn.comparison.summary import Against, MethodSummary, Summary
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
    there = [each for each in sections if each is not None]
    page, *_ = write_document(folder, STEM, title, there, lead_of(summary, against))
    return page, shortened(summary, against)


def _verdicts(summary: Summary, against: Sequence[Against]) -> Section | None:
    if not against:
        return None
    names = Names(summary)
    rows = [
        (
            *names.of(each.method),
            str(each.difference.pairs),
            points(each.difference.mean),
            f"[{points(each.difference.low)}, {points(each.difference.high)}]",
            p_value(each.p),
            percent(each.difference.wins),
            number(each.difference.standardized, 2),
            number(each.time, 2),
            each.difference.verdict,
        )
        for each in against
    ]
    columns = (*names.heads(), "pairs", "points", "interval", "p", "wins", "d", "time", "verdict")
    confidence = against[0].difference.confidence
    note = (
        f"Points of test accuracy over {summary.baseline} with the same searcher and pruner, in pairs of the "
        f"same task and seed. Intervals: the wider of bootstrap and Student at {100 * confidence:.4g} %, so "
        f"that all {len(against)} together hold at 95 % (Bonferroni); p: Student's, corrected by Holm. Wins: "
        "share of pairs, ties half. d: mean over standard deviation. Time: of the search, over the "
        "baseline's, median over pairs."
    )
    text = (
        "Helped or hurt means that the interval leaves out 0; no evidence, that it does not; too few to "
        f"tell, that there are fewer than {FEWEST_PAIRS} pairs, or tasks with a single one. A winner whose "
        "training failed, and a search without a winner, count as the accuracy of always naming the most "
        "frequent class.",
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
    names = Names(summary)
    rows = [
        (*names.of(method), *(_accuracy(found.get((method, task))) for task in summary.tasks))
        for method in summary.methods
    ]
    note = (
        "Test accuracy in %: mean ± standard deviation over the searches' seeds (n), each the mean of its "
        "winner's retrainings."
    )
    table = Table("Test accuracy of the winners", (*names.heads(), *tasks), rows, note)
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
    names = Names(summary)
    rows = [(*names.of(methods[index]), f"{ranks.average[index]:.2f}") for index in order]
    verdict = "differ" if ranks.p < 0.05 else "are not shown to differ"
    text = (
        f"Over {ranks.blocks} blocks, a task and a seed each, the methods {verdict} (Friedman p: "
        f"{p_value(ranks.p)}). Average ranks that differ by less than {ranks.critical_difference:.2f} are "
        "not told apart (Nemenyi, 5 %). Seeds of one task count as blocks of their own.",
    )
    table = Table("Average ranks, 1 is best", (*names.heads(), "rank"), rows)
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
    names = Names(summary)
    rows = [
        (
            *names.of(each.method, each.task),
            points(each.overtuning),
            percent(each.overtuned),
            str(each.known),
        )
        for each in found
    ]
    columns = (*names.heads(task=True), "points", "overtuned", "seeds")
    text = (
        "Overtuning is the test accuracy of the best earlier incumbent less that of the one chosen in the "
        "end: what the search lost by going on. Only incumbents whose test accuracy is known count.",
    )
    return Section("Overtuning", text, (Table("Overtuning, mean over seeds", columns, rows),))


def _costs(summary: Summary, against: Sequence[Against]) -> Section:
    names, times = Names(summary), {each.method: each.time for each in against}
    rows = [
        (
            *names.of(each.method, each.task),
            f"{each.spent:.1f}",
            f"{each.configurations:.1f}",
            f"{each.seconds:.1f}",
            percent(each.measuring),
            number(times.get(each.method, math.nan), 2),
        )
        for each in summary.of_methods()
    ]
    columns = (*names.heads(task=True), "GPU×epochs", "configurations", "seconds", "measuring", "time")
    note = "Of the search alone, means over seeds. Time: over the baseline objective's, median over pairs."
    return Section("What it cost", tables=(Table("Cost of the searches", columns, rows, note),))


def _failures(summary: Summary, missing: Sequence[str]) -> Section | None:
    failed = [each for each in summary.results if each.failure is not None or each.failed_retrainings]
    if not failed and not missing:
        return None
    names = Names(summary)
    rows = [
        (
            *names.of(each.labels.method, each.labels.task),
            str(each.labels.seed),
            each.failure or f"{each.failed_retrainings} retrainings failed",
        )
        for each in failed
    ]
    columns = (*names.heads(task=True), "seed", "why")
    text = [f"{len(failed)} of {len(summary.results)} cells failed, wholly or in part; they count as chance."]
    if missing:
        text.append(f"{len(missing)} cells are missing and in no figure; these commands run them.")
    tables = (Table("Failed cells", columns, rows[:_MOST_ROWS]),) if rows else ()
    return Section("Failed and missing", tuple(text), tables, commands=tuple(missing[:_MOST_ROWS]))


def _cells(summary: Summary) -> Section:
    names = Names(summary)
    rows = [
        (
            *names.of(each.labels.method, each.labels.task),
            str(each.labels.seed),
            "" if math.isnan(each.score) else f"{100 * each.score:.2f}",
            "failed" if each.failure else f"{each.incumbents[-1].val_loss:.4f}",
            format_epochs(round(each.spent, 1)),
            ", ".join(f"{name} {_setting(value)}" for name, value in each.params.items()),
        )
        for each in summary.results[:_MOST_ROWS]
    ]
    heads = names.heads(task=True)
    columns = (*heads, "seed", "test accuracy, %", "validation loss", "GPU×epochs", "winner")
    shown = len(rows) if len(rows) == len(summary.results) else f"{len(rows)} of {len(summary.results)}"
    return Section("Every cell", tables=(Table(f"Cells: {shown}", columns, rows),))


def _setting(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
