"""Claim: a rule of ours saves at least 1.3 × the epochs of the best rival at equal regret, and loses a run of
the three best in less than 5 % of what it gives up.

All runs of a recorded table were trained to the end once and are replayed under each pruner: pools of them in
random order, in rounds of 8, nothing trained. Intervals are over pools, the table taken as given.

    python -m benchmarks.give_up.replay_figures lenet5
"""

import argparse
import sys
from pathlib import Path

import optuna

from benchmarks.give_up.fronts import Sweep
from benchmarks.give_up.judged import TOP, final_loss, rank
from benchmarks.give_up.pareto import draw
from benchmarks.give_up.replay_tables import (
    Rows,
    budget_table,
    count_table,
    describe,
    settings_table,
    within_table,
)
from benchmarks.give_up.rivals import defaults, settings
from benchmarks.give_up.signals import EPOCHS, correlations
from benchmarks.give_up.sweep import sweep
from benchmarks.machine import machine
from benchmarks.tables import aligned
from hpo_gn.recorded import RecordedTable, read_table

FOLDER = Path(__file__).parents[1] / "results" / "give_up"
REGRETS = (0.1, 0.25, 0.5, 1, 2)
"""Bounds for the mean regret, in per cent of the table's best final validation loss."""
LOST = (2.5, 5, 10, 20)
"""Bounds for the mean share of a pool's best that are given up, in per cent."""
WRONG = (0.5, 1, 2, 5)
"""Bounds for the mean share of the runs given up that are among a pool's best, in per cent."""


def report(recorded: RecordedTable, swept: Sweep, orders: int) -> str:
    """All tables as text."""
    ranked = rank(recorded.runs)
    some = defaults(recorded.epochs)
    at = [epoch for epoch in EPOCHS if epoch < recorded.epochs]
    parts: list[tuple[str, Rows]] = [
        (
            "Spearman of a signal with the final validation loss [gain over val_loss]",
            correlations(ranked, at),
        ),
        ("The same among the better half of the runs", correlations(ranked[: len(ranked) // 2], at)),
        (
            "Share of the epochs saved within a bound for the mean regret, in per cent of the best loss;\n"
            "settings are chosen on half of the pools and judged on the others (regret that it came to)",
            within_table(swept, "loss_regret", REGRETS, final_loss(ranked[0])),
        ),
        (
            f"The same within a bound for the share of a pool's {TOP} best that are given up",
            within_table(swept, "lost", LOST, 1),
        ),
        (
            f"The same within a bound for the share of the runs given up that are among a pool's {TOP} best",
            within_table(swept, "wrong", WRONG, 1),
        ),
        ("Pools, means [95 % interval]; * on its family's front", settings_table(swept)),
        ("Equal budgets, pruners as a search makes them by name", budget_table(recorded, some, orders)),
        ("The whole table once, pruners as a search makes them by name", count_table(recorded, some)),
    ]
    return "\n\n".join("\n".join((title, *aligned(rows))) for title, rows in parts)


def main() -> None:
    """Replay everything on one table, and write the tables and the picture."""
    parser = argparse.ArgumentParser()
    parser.add_argument("table", help="its name in benchmarks/results/give_up, without .jsonl.gz")
    parser.add_argument("--families", nargs="+", help="of pruners; by default all")
    parser.add_argument("--pools", type=int, default=100)
    parser.add_argument("--size", type=int, default=32, help="runs a pool")
    parser.add_argument("--output", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    recorded = read_table(FOLDER / f"{arguments.table}.jsonl.gz")
    size = min(arguments.size, len(recorded.runs))
    tried = settings(recorded.epochs, arguments.families)
    swept = sweep(recorded, tried, pools=arguments.pools, size=size)
    text = "\n\n".join(
        (
            f"Give-up rules replayed on {arguments.table}\n"
            f"command   python -m benchmarks.give_up.replay_figures {' '.join(sys.argv[1:])}\n"
            f"pools     {arguments.pools} of {size} runs, rounds of 8\n"
            f"{machine()}, optuna {optuna.__version__}",
            "\n".join(describe(recorded)),
            report(recorded, swept, arguments.pools),
        )
    )
    print(text)
    (arguments.output / f"replay_{arguments.table}.txt").write_text(text + "\n")
    draw(
        swept,
        f"{arguments.table}: {arguments.pools} pools of {size} runs",
        arguments.output / f"pareto_{arguments.table}.png",
    )


if __name__ == "__main__":
    main()
