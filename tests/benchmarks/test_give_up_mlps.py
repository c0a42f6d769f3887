from itertools import pairwise

import pytest
import torch
from torch import nn

from benchmarks.give_up.mlps import Mlps, xavier
from hpo_gn.measures import Accuracy, MeanLoss, Spectrum, measure

WIDTHS = (6, 8, 5, 2)
OPTIMIZERS = {"adam": torch.optim.Adam, "rmsprop": torch.optim.RMSprop, "sgd": torch.optim.SGD}


def samples(count=45):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(count, 6, generator=generator)
    return inputs, torch.randint(0, 2, (count,), generator=generator)


def networks():
    return [xavier(WIDTHS, factor, number) for number, factor in enumerate((0.5, 1.0, 3.0))]


def model(weights, biases=None) -> nn.Sequential:
    layers = [layer for pair in pairwise(WIDTHS) for layer in (nn.Linear(*pair), nn.ReLU())][:-1]
    with torch.no_grad():
        for number, layer in enumerate(layers[::2]):
            layer.weight.copy_(weights[number])
            layer.bias.zero_() if biases is None else layer.bias.copy_(biases[number])
    return nn.Sequential(*layers)


def taken_out(mlps, number) -> nn.Sequential:
    return model([each[number] for each in mlps.weights], [each[number, :, 0] for each in mlps.biases])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_network_is_trained_as_autograd_and_torch_would_train_it(name):
    inputs, targets = samples()
    mlps = Mlps(networks(), name, 1e-2)
    for epoch in range(3):
        mlps.run_epoch(inputs, targets, 10, epoch)
    for number, weights in enumerate(networks()):
        alone = model(weights)
        steps = OPTIMIZERS[name](alone.parameters(), 1e-2)
        for epoch in range(3):
            for index in torch.randperm(45, generator=torch.Generator().manual_seed(epoch)).split(10):
                steps.zero_grad()
                nn.functional.cross_entropy(alone(inputs[index]), targets[index]).backward()
                steps.step()
        for found, expected in zip(taken_out(mlps, number).parameters(), alone.parameters(), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(alone[0].weight, weights[0], atol=1e-4)


def test_measures_are_those_of_the_package():
    inputs, targets = samples()
    mlps = Mlps(networks(), "sgd", 1e-2)
    mlps.run_epoch(inputs, targets, 10, 0)
    judged, spectra = mlps.judge(inputs, targets, "val", piece=20), mlps.spectra(inputs)
    for number in range(3):
        measures = (MeanLoss("validation"), Accuracy("validation"), Spectrum())
        row = measure(taken_out(mlps, number), {"validation": (inputs, targets)}, measures)
        named = {"spectrum:0": row["spectrum:0"], "spectrum:1": row["spectrum:2"]}
        assert spectra[number] == pytest.approx(named, rel=1e-5)
        assert judged[number] == pytest.approx({name: row[name] for name in judged[number]}, rel=1e-5)


def test_a_network_that_diverges_does_not_disturb_the_others():
    inputs, targets = samples()
    healthy, broken = networks()[:2], networks()
    broken[2][0].fill_(float("inf"))
    stacks = [Mlps(weights, "adam", 1e-2) for weights in (healthy, broken)]
    for stack in stacks:
        stack.run_epoch(inputs, targets, 10, 0)
    for first, second in zip(stacks[0].weights, stacks[1].weights, strict=True):
        torch.testing.assert_close(first, second[:2])
    assert all(value != value for value in stacks[1].spectra(inputs)[2].values())


def test_the_factor_scales_xaviers_standard_deviation():
    weights = xavier((300, 200, 2), 3.0, 0)[0]
    assert weights.shape == (200, 300)
    assert float(weights.std()) == pytest.approx(3.0 * (2 / 500) ** 0.5, rel=0.02)
