import pytest
import torch
from torch import Tensor

from hpo_gn.errors import ArgumentError
from hpo_gn.measures import subspace
from hpo_gn.measures.subspace import RandomSubspace, WholeSpace


@pytest.fixture
def x() -> Tensor:
    return torch.randn(30, generator=torch.Generator().manual_seed(0)).double()


def dense(space: RandomSubspace, dimensions: int, dtype=torch.float64) -> Tensor:
    """A, one column after the other."""
    return torch.stack([space.step(unit) for unit in torch.eye(dimensions, dtype=dtype)], dim=1)


@pytest.mark.parametrize("rows", [1, 7, 30, 4096])
@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("dimensions", [1, 5, 30])
def test_it_does_what_the_dense_matrix_does(x, dimensions, kept, rows, monkeypatch):
    monkeypatch.setattr(subspace, "_ROWS", rows)
    monkeypatch.setattr(subspace, "_KEPT", 30 * dimensions if kept else 30 * dimensions - 1)
    space = RandomSubspace(x, dimensions, seed=3)
    matrix = dense(space, dimensions)
    torch.testing.assert_close(space.project(x), matrix.T @ x, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(space.coordinates(x), torch.linalg.pinv(matrix) @ x, rtol=1e-6, atol=1e-6)


def test_a_large_matrix_is_not_kept_and_is_the_same(x, monkeypatch):
    kept = dense(RandomSubspace(x, 5, seed=3), 5)
    monkeypatch.setattr(subspace, "_KEPT", 0)
    drawn = RandomSubspace(x, 5, seed=3)
    assert drawn._kept is None
    assert torch.equal(dense(drawn, 5), kept)


def test_it_is_of_standard_normal_numbers():
    space = RandomSubspace(torch.zeros(10_000), 10, seed=0)
    matrix = dense(space, 10, torch.float32)
    assert matrix.mean().item() == pytest.approx(0, abs=0.01)
    assert matrix.std().item() == pytest.approx(1, abs=0.01)
    correlations = matrix.T @ matrix / len(matrix) - torch.eye(10)
    assert correlations.abs().max() < 0.06


def test_it_is_a_function_of_the_seed_for_every_dtype(x):
    first = dense(RandomSubspace(x, 5, seed=3), 5)
    assert torch.equal(dense(RandomSubspace(x.float(), 5, seed=3), 5, torch.float32).double(), first)
    assert not torch.equal(dense(RandomSubspace(x, 5, seed=4), 5), first)


def test_it_leaves_the_global_random_state(x):
    before = torch.get_rng_state()
    RandomSubspace(x, 5, seed=3).coordinates(x)
    assert torch.equal(torch.get_rng_state(), before)


def test_it_has_no_more_dimensions_than_there_are_parameters(x):
    with pytest.raises(ArgumentError, match="subspace must be at most 30, the number of parameters, got 31"):
        RandomSubspace(x, 31, seed=0)


def test_the_whole_space_changes_nothing(x):
    space = WholeSpace()
    assert all(torch.equal(method(x), x) for method in (space.coordinates, space.step, space.project))
