"""Claim: early in training the one-step generalization ratio that losses show is the one that gradients
predict (Fig. 1 of the GSNR paper: equation 17), and GSNR tells real labels from random ones until the latter
are memorized (Fig. 2; the paper: throughout).

Fig. 1: the paper's CNN (appendix A) on MNIST, full-batch gradient descent; each point is one combination of
training set size n, channels p and label noise. M = 10 training sets and a test set, all apart, have the
same noise; the M models start from the same weights. The left side is that of one step of learning rate
0.001, taken from where the moment is read. Scaled to two cores: n from 250 to 1,000 instead of 1,000 to
15,000, p from 2 to 8 instead of 6 to 20, three noise levels instead of five, 5,000 test images instead of
10,000, and nothing after step 500. Between moments, 10 or 25 of the paper's steps are taken as one of the
same length in all (`MOMENTS`); a check runs one setting with every single step.

Fig. 2: a CNN of the same structure on 2,000 images of CIFAR-10 by SGD, real labels against random ones, three
seeds. Scaled: the paper says neither what its network is nor how many images it gets.

A stopped benchmark continues: each finished setting is a line of figure1.jsonl or figure2.jsonl in OUTPUT.

    python -m benchmarks.gsnr_figures
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import torch
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.stats import linregress
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from benchmarks.machine import machine
from hpo_gn.allocator import keep_freed_memory
from hpo_gn.data import Split, Splits, full_splits, open_data
from hpo_gn.measures import GSNR, Accuracy, Batch, MeanLoss, SameSign, measure
from hpo_gn.measures.gradients import Gradient
from hpo_gn.measures.moments import Moments
from hpo_gn.measures.osgr import gradient_moments, osgr_from_gradients, osgr_from_losses
from hpo_gn.seeds import derive_seed

LEARNING_RATE = 0.001
MOMENTS = {20: 10, 100: 10, 500: 25}
"""Steps of the paper after which both sides are read: how many of them are one on the way there."""
TEST_SAMPLES = 5_000
CHUNK = 250
"""Samples of a forward and backward pass of gradient descent."""
BATCH = 100
"""Of SGD."""

Samples = tuple[Tensor, Tensor]
"""Inputs [n, C, H, W], normalized, and targets [n]."""
Line = dict[str, Any]


@dataclass(frozen=True)
class Setting:
    """A point of Fig. 1: n, p, the share of labels drawn at random, M, and how MOMENTS are reached."""

    samples: int
    channels: int
    noise: float
    sets: int = 10
    every_step: bool = False


@dataclass(frozen=True)
class Fit:
    """A curve of Fig. 2."""

    labels: Literal["real", "random"]
    seed: int
    samples: int = 2_000
    epochs: int = 70
    measured_every: int = 2
    channels: int = 8
    learning_rate: float = 0.005
    momentum: float = 0.9


SETTINGS = [Setting(*each) for each in product((250, 500, 1000), (2, 4, 8), (0.0, 0.2, 0.5))]
CHECKS = [Setting(250, 4, 0.0, sets=2, every_step=every_step) for every_step in (False, True)]
FITS = [Fit(labels, seed) for seed in range(3) for labels in ("real", "random")]


def simple_cnn(shape: Sequence[int], channels: int) -> nn.Module:
    """Two blocks of 5 × 5 convolution, ReLU and max pooling, and two linear layers: the paper's table 2."""
    width = int(2.5 * channels)
    pixels = math.prod(((side - 4) // 2 - 4) // 2 for side in shape[1:])
    model = nn.Sequential(
        *(nn.Conv2d(shape[0], channels, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(channels, width, 5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(pixels * width, 10 * width), nn.ReLU(), nn.Linear(10 * width, 10)),
    )
    return model.to(memory_format=torch.channels_last)


def randomize(targets: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Each label replaced with the given probability by one of ten, all equally likely."""
    drawn = torch.randint(10, targets.shape, generator=generator)
    return torch.where(torch.rand(targets.shape, generator=generator) < share, drawn, targets)


def both_sides(
    setting: Setting,
    data: Split,
    moments: Mapping[int, int] = MOMENTS,
    test_samples: int = TEST_SAMPLES,
) -> Line:
    """Both sides of equation 17 at each moment.

    Args:
        setting: what is trained, on what.
        data: where training and test sets are drawn from.
        moments: as MOMENTS.
        test_samples: size of the test set.

    Returns:
        For each moment the sides with their standard errors over the M sets, and mean losses.
    """
    seed = derive_seed(setting.samples, setting.channels, round(1000 * setting.noise))
    generator = torch.Generator().manual_seed(seed)
    sizes = [test_samples] + [setting.samples] * setting.sets
    inputs, targets = data.batch(torch.randperm(len(data), generator=generator)[: sum(sizes)])
    inputs = inputs.to(memory_format=torch.channels_last)
    targets = randomize(targets, setting.noise, generator)
    test, *sets = zip(inputs.split(sizes), targets.split(sizes), strict=True)
    torch.manual_seed(seed)
    model = simple_cnn(inputs.shape[1:], setting.channels)
    if setting.every_step:
        moments = dict.fromkeys(moments, 1)
    paths = [list(follow(deepcopy(model), each, test, moments)) for each in sets]
    found = zip(moments, zip(*paths, strict=True), strict=True)
    return {"moments": {str(moment): compare_sides(each) for moment, each in found}}


def follow(
    model: nn.Module, train: Samples, test: Samples, moments: Mapping[int, int]
) -> Iterator[tuple[Tensor, Moments]]:
    """Train one of the M models; at each moment its training and test loss [2] before and after a step of the
    paper, [2, 2], and its gradient moments.
    """
    done = 0
    for moment, stride in moments.items():
        for _ in range(done, moment, stride):
            descend(model, train, stride * LEARNING_RATE)
        done = moment
        after = deepcopy(model)
        descend(after, train, LEARNING_RATE)
        losses = [mean_losses(each, train, test) for each in (model, after)]
        yield torch.tensor(losses, dtype=torch.float64).T, gradient_moments(model, train)


def descend(model: nn.Module, train: Samples, learning_rate: float) -> None:
    """One step of gradient descent on the whole training set."""
    model.zero_grad()
    for inputs, targets in zip(*(each.split(CHUNK) for each in train), strict=True):
        (cross_entropy(model(inputs), targets, reduction="sum") / len(train[1])).backward()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter -= learning_rate * parameter.grad


def mean_losses(model: nn.Module, train: Samples, test: Samples) -> list[float]:
    """On the training and on the test set."""
    splits = {"train": [train], "test": list(zip(*(each.split(CHUNK) for each in test), strict=True))}
    row = measure(model, splits, [MeanLoss("train"), MeanLoss("test")])
    return [row["train_loss"], row["test_loss"]]


def compare_sides(found: Sequence[tuple[Tensor, Moments]]) -> dict[str, float]:
    """Both sides from what `follow` gave of each training set at one moment."""
    losses, gradients = torch.stack([each for each, _ in found]), [each for _, each in found]

    def left(chosen: Sequence[int]) -> float:
        return osgr_from_losses(losses[chosen, 0], losses[chosen, 1]).item()

    def right(chosen: Sequence[int]) -> float:
        return osgr_from_gradients([gradients[place] for place in chosen])

    sides = {"left": left, "right": right}
    return (
        {name: side(list(range(len(found)))) for name, side in sides.items()}
        | {f"{name}_standard_error": jackknife(side, len(found)) for name, side in sides.items()}
        | {"train_loss": losses[:, 0, 0].mean().item(), "test_loss": losses[:, 1, 0].mean().item()}
    )


def jackknife(statistic: Callable[[Sequence[int]], float], count: int) -> float:
    """Standard error of a statistic of `count` independent things, from leaving each out in turn."""
    values = torch.tensor([statistic([each for each in range(count) if each != out]) for out in range(count)])
    return math.sqrt((count - 1) * values.double().var(correction=0).item())


class AgreeingSign:
    """Columns `same_sign_of_nonzero`, p_same_sign among the samples whose gradient is not 0, mean over the
    parameters that have any, and `zero_gradients`, the share of gradients that are 0, as behind a ReLU that
    is off.
    """

    split: Literal["train"] = "train"

    def __init__(self) -> None:
        self._counts: dict[str, tuple[Tensor, Tensor]] = {}
        self._samples = 0

    def visit(self, gradient: Gradient) -> None:
        """Take in one parameter's gradients."""
        counts = gradient.sign_sums(), gradient.nonzeros()
        before = self._counts.get(gradient.place.name, (0, 0))
        self._counts[gradient.place.name] = (before[0] + counts[0], before[1] + counts[1])

    def update(self, batch: Batch) -> None:
        """Take in one batch."""
        self._samples += len(batch)

    def compute(self) -> Mapping[str, float]:
        """The columns; starts anew."""
        signs, nonzero = (
            torch.cat([each.flatten() for each in kind]) for kind in zip(*self._counts.values(), strict=True)
        )
        zeros = 1 - nonzero.double().mean().item() / self._samples
        signs, nonzero = signs[nonzero > 0], nonzero[nonzero > 0]
        self.__init__()  # type: ignore[misc]
        return {
            "same_sign_of_nonzero": ((nonzero + signs.abs()) / (2 * nonzero)).double().mean().item(),
            "zero_gradients": zeros,
        }


def fit(wanted: Fit, splits: Splits) -> Line:
    """Train a CNN and measure it before the first epoch and after every other: columns by epoch.

    Random labels are those of the training images; the test images keep theirs.
    """
    assert splits.test is not None
    generator = torch.Generator().manual_seed(wanted.seed)
    index = torch.randperm(len(splits.train), generator=generator)[: wanted.samples]
    train = splits.train.batch(index)
    train = train[0], randomize(train[1], float(wanted.labels == "random"), generator)
    splits_by_name = {"train": train, "test": splits.test.batch(slice(0, wanted.samples))}
    torch.manual_seed(wanted.seed)
    model = simple_cnn(splits.shape, wanted.channels)
    optimizer = torch.optim.SGD(model.parameters(), lr=wanted.learning_rate, momentum=wanted.momentum)
    judged = [kind(name) for kind in (MeanLoss, Accuracy) for name in ("train", "test")]
    watch = partial(measure, model, splits_by_name, [GSNR(), SameSign(), AgreeingSign(), *judged])
    rows = [watch()]
    for epoch in range(1, wanted.epochs + 1):
        for batch in torch.randperm(wanted.samples, generator=generator).split(BATCH):
            optimizer.zero_grad()
            cross_entropy(model(train[0][batch]), train[1][batch]).backward()
            optimizer.step()
        if epoch % wanted.measured_every == 0:
            rows.append(watch())
    return {"columns": {name: [float(f"{row[name]:.5g}") for row in rows] for name in rows[0]}}


def complete(file: Path, wanted: Sequence[Any], run: Callable[[Any], Line]) -> list[Line]:
    """What `run` gives of each setting; each finished one is a line of the file and is not run again."""
    stored = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    lines = {json.dumps(line["setting"]): line for line in stored}
    for setting in wanted:
        key = json.dumps(asdict(setting))
        if key not in lines:
            began = time.process_time()
            lines[key] = {"setting": asdict(setting)} | run(setting)
            with file.open("a") as finished:
                finished.write(json.dumps(lines[key]) + "\n")
            print(f"{key} {time.process_time() - began:.0f} s of one core", flush=True)
    return [lines[json.dumps(asdict(setting))] for setting in wanted]


def line_of_best_fit(points: Sequence[Mapping[str, float]]) -> tuple[float, float, float]:
    """Pearson's correlation of the two sides, and slope and intercept of the left one over the right one."""
    found = linregress([each["right"] for each in points], [each["left"] for each in points])
    return found.rvalue, found.slope, found.intercept


def summarize(points: Sequence[Line], checks: Sequence[Line], fits: Sequence[Line]) -> str:
    """Both figures as text."""
    parts = (_moments(points), _points(points), _checks(checks), _epochs(fits))
    return "\n\n".join("\n".join(part) for part in parts)


def _moments(points: Sequence[Line]) -> Iterator[str]:
    yield "Fig. 1: both sides of equation 17 over the settings"
    yield "  step    n  Pearson  slope  intercept  mean left - right  mean standard error of left, of right"
    for moment in points[0]["moments"]:
        at = [each["moments"][moment] for each in points]
        pearson, slope, intercept = line_of_best_fit(at)
        apart = fmean(each["left"] - each["right"] for each in at)
        errors = [fmean(each[f"{side}_standard_error"] for each in at) for side in ("left", "right")]
        yield (
            f"{moment:>6} {len(at):>4} {pearson:>8.3f} {slope:>6.2f} {intercept:>10.2f} {apart:>18.3f}  "
            f"{errors[0]:.3f}, {errors[1]:.3f}"
        )


def _points(points: Sequence[Line]) -> Iterator[str]:
    yield "left / right side, and mean training / test loss, at each step"
    moments = list(points[0]["moments"])
    yield f"    n  p  noise  {'  '.join(f'step {moment:<23}' for moment in moments)}".rstrip()
    for line in points:
        setting = line["setting"]
        cells = [_cell(line["moments"][moment]) for moment in moments]
        yield f"{setting['samples']:>5} {setting['channels']:>2}  {setting['noise']:>5}  {'  '.join(cells)}"


def _cell(at: Mapping[str, float]) -> str:
    return f"{at['left']:>6.3f} /{at['right']:>6.3f}, {at['train_loss']:>5.3f} /{at['test_loss']:>6.3f}"


def _checks(checks: Sequence[Line]) -> Iterator[str]:
    yield "check, n = 250, p = 4, no noise, M = 2: steps on the way to a moment taken together, or one by one"
    for line in checks:
        label = "one by one" if line["setting"]["every_step"] else "together"
        yield f"{label:<15} {'  '.join(_cell(at) for at in line['moments'].values())}"


def _epochs(fits: Sequence[Line]) -> Iterator[str]:
    setting, seeds = fits[0]["setting"], len(fits) // 2
    yield f"Fig. 2: means over {seeds} seeds; 1 / number of images is {1 / setting['samples']:.2g}"
    names = [name for name in fits[0]["columns"] if name != "gsnr_left_out"]
    yield f"labels  epoch  {'  '.join(f'{name:>8}' for name in names)}"
    for labels in HUES:
        columns = [map(fmean, zip(*_columns(fits, labels, name), strict=True)) for name in names]
        for place, means in enumerate(zip(*columns, strict=True)):
            cells = (f"{mean:>{max(8, len(name))}.4g}" for name, mean in zip(names, means, strict=True))
            yield f"{labels:<7} {place * setting['measured_every']:>5}  {'  '.join(cells)}"


HUES = {"real": "C0", "random": "C3"}
STYLES: dict[str, dict[float, str]] = {
    "n": {250: "C0", 500: "C1", 1000: "C2"},
    "p": {2: "o", 4: "s", 8: "^"},
    "noise": {0.0: "full", 0.2: "left", 0.5: "none"},
}


def draw_figure1(points: Sequence[Line], file: Path) -> None:
    """Left against right side, a panel a moment."""
    figure = Figure(figsize=(13, 5.2), layout="constrained")
    moments = list(points[0]["moments"])
    for axes, moment in zip(figure.subplots(1, len(moments)), moments, strict=True):
        at = [each["moments"][moment] for each in points]
        for line, point in zip(points, at, strict=True):
            axes.errorbar(
                point["right"],
                point["left"],
                xerr=point["right_standard_error"],
                yerr=point["left_standard_error"],
                elinewidth=0.5,
                **_style(line["setting"]),
            )
        pearson, slope, intercept = line_of_best_fit(at)
        lines = [axes.axline((0, intercept), slope=slope, color="r", linestyle=":")]
        lines += [axes.axline((0, 0), slope=1, color="b", linestyle=":")]
        axes.set(
            xlim=_limits([each["right"] for each in at]),
            ylim=_limits([each["left"] for each in at]),
            title=f"step {moment}: c = {pearson:.3f}, slope {slope:.2f}, {len(at)} settings",
            xlabel="right side, from gradients",
            ylabel="left side, from losses",
        )
    keys = [
        Line2D([], [], linestyle="", label=f"{name} = {value}", **_key(name, style))
        for name, styles in STYLES.items()
        for value, style in styles.items()
    ]
    lines[0].set_label("least squares")
    lines[1].set_label("left = right")
    figure.legend(handles=[*keys, *lines], loc="outside lower center", ncols=4)
    figure.savefig(file, dpi=80)


def _style(setting: Mapping[str, Any]) -> dict[str, Any]:
    """Colour for n, marker for p, filling for noise."""
    values = zip(STYLES.values(), (setting[name] for name in ("samples", "channels", "noise")), strict=True)
    color, marker, filling = (styles.get(value, "") for styles, value in values)
    return {"color": color or "0.3", "marker": marker or "d", "fillstyle": filling or "full"}


def _key(name: str, style: str) -> dict[str, Any]:
    """A style of one of the three things alone."""
    plain = {"color": "0.4", "marker": "o", "fillstyle": "full"}
    return plain | {{"n": "color", "p": "marker", "noise": "fillstyle"}[name]: style}


def _limits(values: Sequence[float]) -> tuple[float, float]:
    """Of an axis, around the points whatever their error bars."""
    margin = 0.06 * (max(values) - min(values))
    return min(values) - margin, max(values) + margin


PANELS = {
    "mean GSNR over parameters": {"gsnr": ""},
    "p_same_sign among nonzero gradients": {"same_sign_of_nonzero": ""},
    "p_same_sign among all gradients": {"same_sign": ""},
    "loss": {"train_loss": ", training", "test_loss": ", test"},
    "accuracy": {"train_accuracy": ", training", "test_accuracy": ", test"},
}
"""Columns and what the legend adds to them, by axis."""


def draw_figure2(fits: Sequence[Line], file: Path) -> None:
    """By epoch the mean over seeds, shaded from the least to the greatest; and GSNR by training loss."""
    figure = Figure(figsize=(12.5, 7), layout="constrained")
    every, floor = fits[0]["setting"]["measured_every"], 1 / fits[0]["setting"]["samples"]
    by_epoch, by_loss, *others = figure.subplots(2, 3).flat
    for axes, (title, columns) in zip((by_epoch, *others), PANELS.items(), strict=True):
        for (labels, color), (name, legend) in product(HUES.items(), columns.items()):
            values = list(zip(*_columns(fits, labels, name), strict=True))
            low, middle, high = ([of(each) for each in values] for of in (min, fmean, max))
            epochs, style = [every * place for place in range(len(values))], "--" if "test" in name else "-"
            axes.plot(epochs, middle, style, color=color, label=f"{labels} labels{legend}")
            axes.fill_between(epochs, low, high, color=color, alpha=0.15, linewidth=0)
        axes.set(xlabel="epoch", ylabel=title)
    for labels, color in HUES.items():
        for place, (loss, gsnr) in enumerate(
            zip(_columns(fits, labels, "train_loss"), _columns(fits, labels, "gsnr"), strict=True)
        ):
            by_loss.plot(loss, gsnr, color=color, linewidth=0.8, label=None if place else f"{labels} labels")
    by_loss.set(xlabel="training loss, falling", ylabel="mean GSNR over parameters")
    by_loss.invert_xaxis()
    for axes in (by_epoch, by_loss):
        axes.set_yscale("log")
        axes.axhline(floor, color="0.5", linestyle=":", label="1 / number of images")
    for axes in figure.axes:
        axes.legend(fontsize="small")
    figure.savefig(file, dpi=70)


def _columns(fits: Sequence[Line], labels: str, name: str) -> list[list[float]]:
    """One column of each seed."""
    return [line["columns"][name] for line in fits if line["setting"]["labels"] == labels]


def header() -> str:
    """What was run, where and with what."""
    return "\n".join(
        (
            "Both sides of equation 17, and GSNR on real and random labels (Fig. 1 and 2 of the GSNR paper)",
            f"command   python -m benchmarks.gsnr_figures {' '.join(sys.argv[1:])}".rstrip(),
            "data      MNIST, training images; CIFAR-10, training and test images",
            f"Fig. 1    M = {SETTINGS[0].sets} training sets, {TEST_SAMPLES:,} test images",
            f"Fig. 2    {asdict(FITS[0])} and so on; batches of {BATCH}",
            machine(),
        )
    )


def main() -> None:
    """Run what is missing, and write the summary and the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "gsnr_figures")
    output = parser.parse_args().output
    keep_freed_memory()
    torch.set_num_threads(1)
    output.mkdir(parents=True, exist_ok=True)
    mnist = full_splits(open_data("mnist")).train
    lines = complete(output / "figure1.jsonl", SETTINGS + CHECKS, partial(both_sides, data=mnist))
    points, checks = lines[: len(SETTINGS)], lines[len(SETTINGS) :]
    fits = complete(output / "figure2.jsonl", FITS, partial(fit, splits=full_splits(open_data("cifar10"))))
    text = f"{header()}\n\n{summarize(points, checks, fits)}\n"
    print(text)
    (output / "summary.txt").write_text(text)
    draw_figure1(points, output / "figure1.png")
    draw_figure2(fits, output / "figure2.png")


if __name__ == "__main__":
    main()
