"""`python -m benchmarks.measures`: all rows in one table."""

import argparse
import importlib.metadata
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import torch

from benchmarks.machine import load_samples, machine
from benchmarks.measures import passes, per_sample, sharpness, spectra
from benchmarks.measures.networks import SIZES, Case, prepare
from benchmarks.measures.rows import COLUMNS, Row
from benchmarks.measures.timing import LEAST_ROUNDS, Effort
from hpo_gn.allocator import keep_freed_memory

PEERS = ("opacus", "backpack-for-pytorch")


def network_rows(case: Case, effort: Effort) -> Iterator[Row]:
    """All rows of a network."""
    yield per_sample.unit_row(case, effort)
    for group in per_sample.groups(case):
        yield from per_sample.rows(case, group, effort)
    yield from passes.called(case, effort)
    yield passes.exact_agn(case, effort)
    if (compiled := passes.compiled_agn(case, effort)) is not None:
        yield compiled
    yield passes.online_agn(case, effort)
    yield sharpness.row(case, effort)


def header(source: str, effort: Effort, kept: bool) -> str:
    """What was run, where and with what."""
    peers = []
    for name in PEERS:
        with suppress(importlib.metadata.PackageNotFoundError):
            peers.append(f"{name} {importlib.metadata.version(name)}")
    return "\n".join(
        (
            "What measures cost, over F+B, forward and backward of the same batch, if no unit is named",
            f"command   python -m benchmarks.measures {' '.join(sys.argv[1:])}".rstrip(),
            f"data      {source}",
            machine(),
            f"peers     {', '.join(peers) or 'none installed'}",
            f"memory    freed memory is {'kept, for ours and peers alike' if kept else 'given back'}; "
            "peak: bytes torch allocates in one call",
            f"rounds    unit and method in alternating order, until {effort.seconds:g} s are over, "
            f"{min(LEAST_ROUNDS, effort.rounds)} to {effort.rounds}; the first does not count",
        )
    )


def main() -> int:
    """Print the table; 1 if a row misses its bar."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--networks", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--rounds", type=int, default=101, help="at most; slow rows get fewer")
    parser.add_argument("--seconds", type=float, default=3, help="that a row's rounds take, about")
    parser.add_argument("--output", type=Path, help="also write the table here")
    arguments = parser.parse_args()
    kept = keep_freed_memory()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    effort = Effort(arguments.rounds, arguments.seconds)
    source, inputs, targets = load_samples(max(SIZES[name].most for name in arguments.networks))
    lines, missed = [], []

    def show(line: object) -> None:
        lines.append(str(line))
        print(line, flush=True)

    def show_rows(rows: Iterator[Row]) -> None:
        for row in rows:
            show(row)
            missed.append(row.missed)

    show(header(source, effort, kept))
    for name in arguments.networks:
        case = prepare(name, inputs.to(arguments.device), targets.to(arguments.device), SIZES[name])
        show(f"\n{name}, batch {case.size.batch:,}\n{COLUMNS}")
        show_rows(network_rows(case, effort))
    if arguments.device.type == "cpu":
        show(f"\nrandom matrices\n{COLUMNS}")
        show_rows(spectra.rows(effort))
    show(f"\n{sum(missed)} rows miss a bar" if any(missed) else "\nevery bar is reached")
    if arguments.output:
        arguments.output.write_text("\n".join(lines) + "\n")
    return int(any(missed))


if __name__ == "__main__":
    sys.exit(main())
