"""What the finished searches say, as text."""

from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.searchers.intervals import interval, mean, ranks
from benchmarks.searchers.runs import Runs
from benchmarks.tables import aligned

MOMENTS = (10, 25, 50, 100)
"""Full evaluations spent."""

FEWEST = 3
"""Seeds on each table, below which an interval over seeds says nothing."""

BARS = (("cma-es", "optuna cma-es"), ("cma-es", "optuna cma-es, ordinal"), ("bohb", "random"))
"""Who must not lose to whom."""

OTHERS = (
    ("cma-es", "random"),
    ("particle-swarm", "random"),
    ("tpe", "optuna tpe"),
    ("bohb", "hyperband"),
    ("bohb", "hpbandster bohb"),
    ("bohb", "dehb"),
    ("cma-es", "smac3"),
)
"""What else is worth knowing."""


def summary(runs: Runs) -> str:
    """All tables: on every recorded table, on those that all contestants share, and pair by pair."""
    everywhere = [name for name in runs.contestants if runs.tables_of([name]) == runs.tables]
    parts = [
        f"{len(runs.tables)} tables: {', '.join(runs.tables)}",
        *_group(runs, everywhere, runs.tables),
    ]
    if len(everywhere) < len(runs.contestants):
        shared = runs.tables_of(runs.contestants)
        parts += [
            f"{len(shared)} tables that all contestants share: {', '.join(shared)}",
            *_group(runs, runs.contestants, shared),
        ]
    parts += [
        "The bars: ours less theirs after 100 evaluations, pairs of equal table and seed\n\n"
        + _pairs(runs, BARS),
        "Other pairs\n\n" + _pairs(runs, OTHERS),
        "By family, mean regret after 100 evaluations [95 %, tables as given]\n\n" + _families(runs),
    ]
    return "\n\n".join(parts)


def _group(runs: Runs, contestants: Sequence[str], tables: Sequence[str]) -> Iterator[str]:
    if not tables or not contestants:
        return
    ranked = ranks([runs.regrets(name, tables, MOMENTS[-1]) for name in contestants])
    rows = [("contestant", "n", *(f"regret after {at}" for at in MOMENTS), "best found, %", "mean rank")]
    for _, (rank, low, high), name in sorted(
        zip([each[0] for each in ranked], ranked, contestants, strict=True)
    ):
        last = np.concatenate(runs.regrets(name, tables, MOMENTS[-1]))
        rows.append(
            (
                name,
                str(len(last)),
                *(_with_interval(runs, name, tables, at) for at in MOMENTS),
                f"{100 * np.mean(last == 0):.0f}",
                f"{rank:.1f} [{low:.1f}, {high:.1f}]",
            )
        )
    yield "\n".join(aligned(rows))


def _with_interval(runs: Runs, name: str, tables: Sequence[str], at: int, *, drawn: bool = True) -> str:
    regrets = runs.regrets(name, tables, at)
    low, high = interval(regrets, tables=drawn)
    return f"{mean(regrets):.3g} [{low:.3g}, {high:.3g}]"


def _pairs(runs: Runs, pairs: Sequence[tuple[str, str]]) -> str:
    rows = [
        (
            *("ours", "theirs", "tables", "n", "difference", "95 %, other tables", "95 %, these tables"),
            *("ours lower / equal / higher, %", "verdict"),
        )
    ]
    for ours, theirs in pairs:
        if tables := runs.tables_of([ours, theirs]):
            rows.append((ours, theirs, *_pair(runs, ours, theirs, tables)))
    return "\n".join(aligned(rows))


def _pair(runs: Runs, ours: str, theirs: str, tables: Sequence[str]) -> tuple[str, ...]:
    differences = runs.differences(ours, theirs, tables, MOMENTS[-1])
    every = np.concatenate(differences)
    wide, narrow = (interval(differences, tables=drawn) for drawn in (True, False))
    shares = [100 * float(np.mean(np.sign(every) == sign)) for sign in (-1, 0, 1)]
    return (
        str(len(tables)),
        str(len(every)),
        f"{mean(differences):+.3f}",
        *(f"[{low:+.3f}, {high:+.3f}]" for low, high in (wide, narrow)),
        " / ".join(f"{share:.0f}" for share in shares),
        verdict(*narrow) if min(map(len, differences)) >= FEWEST else "too few seeds",
    )


def verdict(low: float, high: float) -> str:
    """What an interval of our regret less theirs says in words."""
    if high < 0:
        return "ours is better"
    return "ours is worse" if low > 0 else "no difference shown"


def _families(runs: Runs) -> str:
    families = list(dict.fromkeys(table.partition("/")[0] for table in runs.tables))
    rows = [("contestant", *families)]
    for name in runs.contestants:
        cells = []
        for family in families:
            tables = [table for table in runs.tables_of([name]) if table.startswith(f"{family}/")]
            shown = _with_interval(runs, name, tables, MOMENTS[-1], drawn=False) if tables else ""
            cells.append(f"{shown} ({len(tables)} tables)" if tables else "–")
        rows.append((name, *cells))
    return "\n".join(aligned(rows))
