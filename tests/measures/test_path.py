import math
import statistics

import pytest
import torch
from torch import Tensor, nn

from hpo_gn.errors import ArgumentError
from hpo_gn.measures import GN, along_path, measure

DATA = tuple[Tensor, Tensor]


def build() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, 3)
    ).double()


def steps(model: nn.Module, optimizer: torch.optim.Optimizer, data: DATA, count: int = 3):
    """Steps of training, one at a time."""
    torch.manual_seed(1)
    for _ in range(count):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(data[0][:8]), data[1][:8]).backward()
        optimizer.step()
        yield


def test_it_is_the_sum_of_gn_after_each_step(samples, gradients_twin):
    model = build()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    expected = 0.0
    with along_path(model, optimizer, samples, samples=None) as path:
        assert (path.total, path.iterations, path.standard_error) == (0, 0, 0)
        for number, _ in enumerate(steps(model, optimizer, samples), start=1):
            twin = gradients_twin(model.eval(), *samples)
            model.train()
            expected += sum(each.square().sum().item() for each in twin.values()) / len(samples[1])
            assert path.iterations == number
            assert path.total == pytest.approx(expected, rel=1e-9, abs=0)
            assert path.standard_error == 0
    for _ in steps(model, optimizer, samples):
        assert path.iterations == 3


def estimate(data: DATA, count: int | None, seed: int = 0) -> tuple[float, float]:
    model = build()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    with along_path(model, optimizer, data, samples=count, seed=seed) as path:
        for _ in steps(model, optimizer, data):
            pass
    return path.total, path.standard_error


def test_an_estimate_is_unbiased_and_knows_its_error(samples):
    expected, _ = estimate(samples, None)
    found = [estimate(samples, 8, seed) for seed in range(0, 600, 10)]
    scores = [(total - expected) / error for total, error in found]
    totals = [total for total, _ in found]
    assert abs(statistics.fmean(totals) - expected) < 4 * statistics.stdev(totals) / math.sqrt(len(found))
    assert 0.6 < statistics.pvariance(scores, 0) < 1.7


def test_each_iteration_has_a_subset_of_its_own(samples):
    """So that errors do not add up, but variances do."""
    model = build().eval()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with along_path(model, optimizer, samples, samples=4, seed=5) as path:
        for _ in steps(model, optimizer, samples, 2):
            pass
    rows = [measure(model, samples, [GN(4, seed)]) for seed in (5, 6)]
    assert path.total == sum(row["gn"] for row in rows)
    errors = [row["gn_standard_error"] for row in rows]
    assert path.standard_error == pytest.approx(math.hypot(*errors), rel=1e-12)
    assert rows[0]["gn"] != rows[1]["gn"]


def test_all_samples_are_exact(samples):
    assert estimate(samples, 13) == pytest.approx(estimate(samples, None), rel=1e-12, abs=0)


def test_training_goes_on_as_without_it(samples, state):
    models = [build(), build()]
    for model in models:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
        if model is models[0]:
            with along_path(model, optimizer, samples, samples=5):
                for _ in steps(model, optimizer, samples):
                    pass
        else:
            for _ in steps(model, optimizer, samples):
                pass
    one, other = map(state, models)
    for what in ("values", "requires_grad", "modes", "attributes", "hooks"):
        assert one[what] == other[what]


def test_the_hook_comes_off_also_after_an_error(samples):
    model = build()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    with pytest.raises(ZeroDivisionError), along_path(model, optimizer, samples, samples=None):
        raise ZeroDivisionError
    assert not optimizer._optimizer_step_post_hooks


@pytest.mark.parametrize("count", [-1, 0, 1, 14])
def test_a_subset_has_from_two_samples_to_all(count, samples):
    model = build()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    with pytest.raises(ArgumentError) as error, along_path(model, optimizer, samples, samples=count):
        pass
    assert str(error.value) == f"samples must be None or from 2 to 13, got {count}"
