"""Claim: one pass for AGN, training loss and accuracy costs at most 1.05 × a plain evaluation of the loss.

Both walk the same batches in evaluation mode without gradients, on one thread. Each round times both, one
after the other and in alternating order; what counts is the median over rounds of the ratio in a round. Run
it on an idle machine: small operations suffer more from other processes than large ones, so the ratio of the
smallest network, which has little to hide AGN behind, rises with the load. The paper's own AGN costs 1.95 to
19.45 × a validation.

    python -m benchmarks.agn_pass
"""

import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from hpo_gn.data import full_splits, open_data
from hpo_gn.errors import DataError
from hpo_gn.measures import AGN, Accuracy, MeanLoss, measure
from hpo_gn.models import build_model

BAR = 1.05
BATCH = 1000
"""As in a search."""
SIZES = {"mlp": (5_000, 201), "lenet5": (5_000, 61), "resnet20": (1_000, 15)}
"""Samples and rounds of each network: many short rounds where one is cheap."""

Batches = Sequence[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Timing:
    """Seconds of the plain evaluation and of the pass, one each a round."""

    plain_s: Sequence[float]
    pass_s: Sequence[float]

    @property
    def ratios(self) -> list[float]:
        """Pass / plain evaluation, one a round."""
        return [ours / plain for ours, plain in zip(self.pass_s, self.plain_s, strict=True)]


def evaluate_loss(model: nn.Module, batches: Batches) -> float:
    """The plain evaluation: the mean cross entropy."""
    model.eval()
    total = torch.zeros(())
    with torch.no_grad():
        for inputs, targets in batches:
            total += cross_entropy(model(inputs), targets, reduction="sum")
    return total.item() / sum(len(targets) for _, targets in batches)


def evaluate_all(model: nn.Module, batches: Batches) -> float:
    """The pass under test; returns its training loss."""
    row = measure(model, {"train": batches}, [AGN(), MeanLoss("train"), Accuracy("train")])
    return row["train_loss"]


def compare(model: nn.Module, batches: Batches, rounds: int) -> Timing:
    """Both timed in each of a number of rounds, after one that does not count."""
    torch.testing.assert_close(evaluate_all(model, batches), evaluate_loss(model, batches), rtol=1e-5, atol=0)
    times: dict[Callable[[nn.Module, Batches], float], list[float]] = {evaluate_loss: [], evaluate_all: []}
    for number in range(rounds):
        for function in sorted(times, key=lambda function: (function is evaluate_all) ^ (number % 2)):
            began = time.perf_counter()
            function(model, batches)
            times[function].append(time.perf_counter() - began)
    return Timing(times[evaluate_loss], times[evaluate_all])


def load_samples(count: int) -> tuple[str, Tensor, Tensor]:
    """What they are, inputs [count, 1, 28, 28] and targets [count]: Fashion-MNIST's first, else noise."""
    try:
        split = full_splits(open_data("fashion-mnist")).train
    except DataError:
        return (
            "random noise of Fashion-MNIST's shape",
            torch.randn(count, 1, 28, 28),
            torch.arange(count) % 10,
        )
    return "Fashion-MNIST, training images", *split.batch(slice(0, count))


def processor() -> str:
    """The processor's name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()


def main() -> int:
    """Print the table; 1 if a network misses the bar."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    source, inputs, targets = load_samples(max(samples for samples, _ in SIZES.values()))
    print(f"AGN + training loss + accuracy in one pass / plain evaluation of the loss; bar {BAR}")
    print("command   python -m benchmarks.agn_pass")
    print(f"data      {source}")
    print(f"hardware  {processor()}, 1 thread; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    print(f"versions  Python {platform.python_version()}, torch {torch.__version__}")
    print(f"batches   of {BATCH}; n interleaved rounds\n")
    print("network   samples     n   plain, median   pass, median   ratio, median (min–max)")
    missed = False
    for name, (count, rounds) in SIZES.items():
        batches = list(
            zip(torch.split(inputs[:count], BATCH), torch.split(targets[:count], BATCH), strict=True)
        )
        timing = compare(build_model(name, (1, 28, 28), 10), batches, rounds)
        ratio = median(timing.ratios)
        missed |= ratio > BAR
        print(
            f"{name:<9} {count:>7,}   {rounds:>3}   {1e3 * median(timing.plain_s):>10.1f} ms   "
            f"{1e3 * median(timing.pass_s):>9.1f} ms   {ratio:.3f} "
            f"({min(timing.ratios):.3f}–{max(timing.ratios):.3f})"
        )
    print("\nmissed" if missed else "\nreached by every network")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
