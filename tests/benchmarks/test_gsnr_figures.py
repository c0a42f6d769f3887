import json
import math
from dataclasses import asdict
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from benchmarks import gsnr_figures
from benchmarks.gsnr_figures import (
    LEARNING_RATE,
    AgreeingSign,
    Fit,
    Setting,
    both_sides,
    compare_sides,
    complete,
    draw_figure1,
    draw_figure2,
    fit,
    follow,
    jackknife,
    randomize,
    simple_cnn,
    summarize,
)
from hpo_gn.data import Split, Splits
from hpo_gn.measures import measure

MOMENTS = {2: 1, 6: 2}
SETTINGS = [Setting(samples, 2, noise, sets=3) for samples in (20, 30) for noise in (0.0, 0.5)]
CHECKS = [Setting(20, 2, 0.0, sets=2, every_step=every_step) for every_step in (False, True)]
FITS = [Fit(labels, seed, samples=100, epochs=5) for seed in (0, 1) for labels in ("real", "random")]


def split(samples: int, seed: int) -> Split:
    generator = torch.Generator().manual_seed(seed)
    targets = torch.randint(10, (samples,), generator=generator)
    inputs = torch.randn(samples, 1, 16, 16, generator=generator) + targets.view(-1, 1, 1, 1) / 5
    return Split(inputs, targets, torch.zeros(1), torch.ones(1))


@pytest.fixture(scope="module")
def points():
    run = partial(both_sides, data=split(300, 0), moments=MOMENTS, test_samples=40)
    return [{"setting": asdict(setting)} | run(setting) for setting in SETTINGS + CHECKS]


@pytest.fixture(scope="module")
def fits():
    splits = Splits(split(200, 0), None, split(60, 1), 10, (1, 16, 16), None, "")
    return [{"setting": asdict(wanted)} | fit(wanted, splits) for wanted in FITS]


def test_the_network_is_the_papers():
    shapes = [tuple(parameter.shape) for parameter in simple_cnn((1, 28, 28), 6).parameters()]
    assert shapes[::2] == [(6, 1, 5, 5), (15, 6, 5, 5), (150, 16 * 15), (10, 150)]


def test_a_moment_is_reached_by_gradient_descent_and_read_before_and_after_a_step_of_the_paper():
    train, test = split(20, 0).batch(slice(None)), split(40, 1).batch(slice(None))
    torch.manual_seed(0)
    model = simple_cnn((1, 16, 16), 2).double()
    train, test = ((inputs.double(), targets) for inputs, targets in (train, test))
    found = list(follow(model, train, test, MOMENTS))
    torch.manual_seed(0)
    twin = simple_cnn((1, 16, 16), 2).double()
    optimizer = torch.optim.SGD(twin.parameters(), lr=LEARNING_RATE)

    def step(learning_rate: float) -> None:
        optimizer.param_groups[0]["lr"] = learning_rate
        optimizer.zero_grad()
        cross_entropy(twin(train[0]), train[1]).backward()
        optimizer.step()

    def losses() -> list[float]:
        return [cross_entropy(twin(inputs), targets).item() for inputs, targets in (train, test)]

    for (read, moments), steps in zip(found, ([1, 1], [2, 2]), strict=True):
        for each in steps:
            step(each * LEARNING_RATE)
        kept, before = {name: each.clone() for name, each in twin.state_dict().items()}, losses()
        step(LEARNING_RATE)
        assert read.T.tolist() == [pytest.approx(before, rel=1e-9), pytest.approx(losses(), rel=1e-9)]
        for name, parameter in twin.named_parameters():
            torch.testing.assert_close(moments.mean[name], parameter.grad, rtol=1e-6, atol=1e-12)
        twin.load_state_dict(kept)


def test_a_point_compares_all_sets_at_each_moment(points):
    for line in points:
        assert list(line["moments"]) == ["2", "6"]
        assert all(math.isfinite(value) for at in line["moments"].values() for value in at.values())


def test_every_step_alone_gives_about_the_same(points):
    together, alone = (line["moments"]["6"] for line in points[len(SETTINGS) :])
    assert together["left"] == pytest.approx(alone["left"], abs=2e-3)
    assert together["right"] == pytest.approx(alone["right"], abs=2e-3)
    assert together != alone


def test_the_left_side_is_the_ratio_of_the_losses_that_were_read():
    moments = next(follow(simple_cnn((1, 16, 16), 2), *[split(9, 0).batch(slice(None))] * 2, {1: 1}))[1]
    losses = [[[3.0, 2.0], [3.0, 2.5]], [[4.0, 3.5], [4.0, 3.9]]]  # set, (train, test), (before, after)
    found = compare_sides([(torch.tensor(each).double(), moments) for each in losses])
    assert found["left"] == pytest.approx(0.6 / 1.5)
    assert (found["train_loss"], found["test_loss"]) == (3.5, 3.5)
    assert found["right_standard_error"] == pytest.approx(0, abs=1e-6)


def test_the_jackknife_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(0).random(7)
    found = jackknife(lambda chosen: float(values[chosen].mean()), 7)
    assert found == pytest.approx(values.std(ddof=1) / math.sqrt(7), rel=1e-6)


@pytest.mark.parametrize(("share", "changed"), [(0.0, 0.0), (0.5, 0.45), (1.0, 0.9)])
def test_labels_are_replaced_by_any_of_ten(share, changed):
    targets = torch.arange(10).repeat(2_000)
    noisy = randomize(targets, share, torch.Generator().manual_seed(0))
    assert (noisy != targets).double().mean().item() == pytest.approx(changed, abs=0.01)
    assert noisy.bincount(minlength=10).tolist() == pytest.approx([2_000] * 10, rel=0.1)


def test_signs_agree_among_gradients_that_are_not_zero():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 10)).double()
    inputs, targets = torch.randn(30, 4).double(), torch.arange(30) % 10
    rows = []
    for index in range(30):
        loss = cross_entropy(model(inputs[index : index + 1]), targets[index : index + 1])
        rows.append(
            torch.cat([each.flatten() for each in torch.autograd.grad(loss, list(model.parameters()))])
        )
    shares = []
    for gradients in torch.stack(rows).T.tolist():
        signs = [gradient > 0 for gradient in gradients if gradient != 0]
        if signs:
            shares.append(max(sum(signs), len(signs) - sum(signs)) / len(signs))
    for _ in range(2):
        found = measure(model, (inputs, targets), [AgreeingSign()])
        assert found["same_sign_of_nonzero"] == pytest.approx(sum(shares) / len(shares))
        assert found["zero_gradients"] == pytest.approx((torch.stack(rows) == 0).double().mean().item())


def test_a_fit_is_measured_before_the_first_and_after_every_other_epoch(fits):
    for line in fits:
        assert {len(column) for column in line["columns"].values()} == {3}
        assert line["columns"]["train_loss"][-1] < line["columns"]["train_loss"][0]
    real, random = (line["columns"] for line in fits[:2])
    assert real["test_loss"][0] == random["test_loss"][0]
    assert real["train_loss"][0] != random["train_loss"][0]


def test_a_stopped_benchmark_continues(tmp_path):
    file, ran = tmp_path / "lines.jsonl", []

    def run(setting):
        ran.append(setting)
        return {"moments": {}}

    complete(file, SETTINGS[:1], run)
    lines = complete(file, SETTINGS, run)
    assert ran == SETTINGS
    assert [line["setting"] for line in lines] == [asdict(setting) for setting in SETTINGS]
    assert [json.loads(line) for line in file.read_text().splitlines()] == lines
    assert complete(file, SETTINGS[::-1], run) == lines[::-1]
    assert ran == SETTINGS


def test_the_summary_holds_numpys_correlation_and_slope(points, fits):
    settled = points[: len(SETTINGS)]
    at = [line["moments"]["6"] for line in settled]
    right, left = ([each[side] for each in at] for side in ("right", "left"))
    slope = np.polyfit(right, left, 1)[0]
    text = summarize(settled, points[len(SETTINGS) :], fits)
    assert f"{np.corrcoef(right, left)[0, 1]:.3f} {slope:>6.2f}" in text
    assert "together" in text
    assert "random" in text


def test_the_figures_are_drawn(points, fits, tmp_path):
    draw_figure1(points[: len(SETTINGS)], tmp_path / "figure1.png")
    draw_figure2(fits, tmp_path / "figure2.png")
    for name in ("figure1.png", "figure2.png"):
        assert 0 < (tmp_path / name).stat().st_size < 200_000


def test_the_settings_are_distinct():
    keys = [repr(each) for each in gsnr_figures.SETTINGS + gsnr_figures.CHECKS + gsnr_figures.FITS]
    assert len(set(keys)) == len(keys)
