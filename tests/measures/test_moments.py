import pytest
import torch

from hpo_gn.measures.gradients.gradient import Gradient, Place
from hpo_gn.measures.moments import MomentSums


class Given(Gradient):
    """Gradients of which nothing but the sums is known."""

    def __init__(self, name: str, first: torch.Tensor, second: torch.Tensor) -> None:
        super().__init__(Place(name, torch.nn.Parameter(first), slice(0, 1), 1))
        self.sums = first, second

    def per_sample(self, index):
        raise AssertionError

    def is_finite(self):
        raise AssertionError

    def add_moments(self, first, second):
        first += self.sums[0]
        second += self.sums[1]


def add(sums: MomentSums, gradients: torch.Tensor) -> None:
    sums.add(Given("weight", gradients.sum(dim=0), gradients.square().sum(dim=0)))
    sums.count(len(gradients))


@pytest.mark.parametrize("size", [1, 7, 500])
def test_they_are_the_mean_and_the_population_variance(size):
    gradients = torch.randn(500, 3, 2, generator=torch.Generator().manual_seed(0)).double()
    sums = MomentSums()
    for each in gradients.split(size):
        add(sums, each)
    moments = sums.take()
    assert moments.samples == 500
    assert torch.allclose(moments.mean["weight"], gradients.mean(dim=0), rtol=1e-12, atol=1e-15)
    assert torch.allclose(moments.variance["weight"], gradients.var(dim=0, correction=0), rtol=1e-12, atol=0)


def test_each_parameter_has_its_own_and_they_start_anew():
    sums = MomentSums()
    for _ in range(2):
        sums.add(Given("weight", torch.tensor([4.0]), torch.tensor([10.0])))
        sums.add(Given("bias", torch.tensor(0.0), torch.tensor(2.0)))
        sums.count(2)
        moments = sums.take()
        assert moments.samples == 2
        assert {name: each.tolist() for name, each in moments.mean.items()} == {"weight": [2], "bias": 0}
        assert {name: each.tolist() for name, each in moments.variance.items()} == {"weight": [1], "bias": 1}
    assert sums.take().mean == {}


def test_many_float32_samples_are_summed_in_float64():
    """A float32 sum of as many ones stops growing at 2^24."""
    sums = MomentSums()
    for _ in range(3):
        sums.add(Given("weight", torch.tensor([2.0**24]), torch.tensor([2.0**24])))
        sums.count(2**24)
    add(sums, torch.ones(1, 1))
    moments = sums.take()
    assert moments.samples == 3 * 2**24 + 1
    assert moments.mean["weight"].dtype == torch.float64
    assert moments.mean["weight"].tolist() == [1.0]


def test_parts_of_a_batch_are_added_up():
    """As of layers whose gradients come some samples at a time."""
    gradients = torch.arange(6.0).view(3, 2)
    whole, parts = MomentSums(), MomentSums()
    add(whole, gradients)
    for each in gradients.split(1):
        parts.add(Given("weight", each.sum(dim=0), each.square().sum(dim=0)))
    parts.count(3)
    assert torch.equal(whole.take().variance["weight"], parts.take().variance["weight"])


def test_equal_gradients_have_no_variance():
    sums = MomentSums()
    for _ in range(100):
        add(sums, torch.full((7, 1), 0.1))
    assert sums.take().variance["weight"].tolist() == [0]
