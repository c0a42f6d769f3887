"""Claim: on one CPU core a stack trained by `hpo_gn.stacked` is faster than its networks one at a time only
where these are small, and gradients written out (`benchmarks.give_up.mlps`) are faster than either.

Processor microseconds of a step of batch 32 for each network, the least of interleaved rounds: forward and
backward pass, the optimizer, and taking the batch from the split.

    python -m benchmarks.give_up.stacked_speed
"""

import argparse
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

from benchmarks.give_up.mlps import Mlps, xavier
from benchmarks.machine import machine
from hpo_gn.allocator import keep_freed_memory
from hpo_gn.data import Split
from hpo_gn.data.shell import shell
from hpo_gn.stacked import StackedTraining

NETWORKS = {
    "DA-II, RMSprop": ((256, 256, 128, 2), "rmsprop"),
    "DA-I at a quarter, Adam": ((256, 128, 64, 64, 32, 2), "adam"),
    "DA-I, Adam": ((1024, 512, 256, 256, 128, 2), "adam"),
}
OPTIMIZERS = {
    "adam": partial(torch.optim.Adam, lr=1e-4, fused=True),
    "rmsprop": partial(torch.optim.RMSprop, lr=1e-4),
}
BATCH = 32


def perceptron(widths: Sequence[int]) -> nn.Sequential:
    """With ReLU between its linear layers."""
    layers = [layer for pair in pairwise(widths) for layer in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


def epochs(widths: Sequence[int], optimizer: str, data: Split, count: int) -> dict[str, Callable[[], object]]:
    """An epoch of `count` networks, each way."""
    models = [perceptron(widths) for _ in range(count)]
    stacked = StackedTraining(models, data, batch_size=BATCH, optimizer=OPTIMIZERS[optimizer])
    written_out = Mlps([xavier(widths, 1.0, number) for number in range(count)], optimizer, 1e-4)
    alone, steps = models[0], OPTIMIZERS[optimizer](models[0].parameters())

    def run_alone() -> None:
        for index in torch.randperm(len(data)).split(BATCH):
            inputs, targets = data.batch(index)
            steps.zero_grad(set_to_none=True)
            nn.functional.cross_entropy(alone(inputs), targets).backward()
            steps.step()

    return {
        "one at a time": run_alone,
        "stacked": stacked.run_epoch,
        "written out": partial(written_out.run_epoch, *data.batch(slice(None)), BATCH, 0),
    }


def microseconds(
    ways: dict[str, Callable[[], object]], steps: int, count: int, rounds: int
) -> dict[str, float]:
    """Of a step of one network; the first round does not count."""
    least = dict.fromkeys(ways, float("inf"))
    for number in range(1 + rounds):
        for name, way in ways.items():
            began = time.process_time()
            way()
            taken = (time.process_time() - began) / steps / (1 if name == "one at a time" else count)
            if number:
                least[name] = min(least[name], 1e6 * taken)
    return least


def table(stacks: Sequence[int], steps: int, rounds: int) -> list[str]:
    """A line for each network and size of the stack."""
    lines = [f"{'networks':26}{'stack':>6}{'one at a time':>15}{'stacked':>9}{'written out':>13}"]
    for name, (widths, optimizer) in NETWORKS.items():
        inputs, targets = shell(widths[0], samples=steps * BATCH, test_samples=2).read("train")
        data = Split(inputs.flatten(1), targets, torch.zeros(widths[0]), torch.ones(widths[0]))
        for count in stacks:
            found = microseconds(epochs(widths, optimizer, data, count), steps, count, rounds)
            numbers = [found[way] for way in ("one at a time", "stacked", "written out")]
            lines.append(f"{name:26}{count:6}{numbers[0]:15.0f}{numbers[1]:9.0f}{numbers[2]:13.0f}")
    return lines


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--stacks", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path(__file__).parents[1] / "results" / "give_up")
    arguments = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(1)
    title = "Processor microseconds of a step of batch 32 for each network"
    lines = table(arguments.stacks, arguments.steps, arguments.rounds)
    text = "\n".join(
        [title, "command   python -m benchmarks.give_up.stacked_speed", machine(), "", *lines, ""]
    )
    print(text)
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "stacked.txt").write_text(text)


if __name__ == "__main__":
    main()
