import math
import sys

import pytest
import torch
from torch import Tensor

from hpo_gn.measures.rounding import FLOAT32_ERROR, Rounding, measured_error, sensitivities


def activations(rows: int, columns: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(rows, 40, generator=generator)
    return (inputs @ torch.randn(40, columns, generator=generator)).relu()


def gram(rows: Tensor) -> Tensor:
    return rows.double().T @ rows.double()


def test_a_sensitivity_is_the_inverses_diagonal_over_at_most_the_squared_sum():
    matrix = activations(500, 60)
    found, squares = sensitivities(gram(matrix)), gram(matrix).diagonal().square()
    exact = torch.linalg.inv(gram(matrix)).diagonal() / torch.linalg.svdvals(matrix.double()).sum() ** 2
    # tr L is less than Σσ, and a diagonal that is estimated off by a little.
    assert 0.7 < (squares @ found) / (squares @ exact) < 6


def test_a_column_of_zeros_has_the_largest_sensitivity_there_is():
    matrix = activations(500, 60)
    matrix[:, 7] = 0
    found = sensitivities(gram(matrix))
    others = torch.arange(60) != 7
    assert found[7] == sys.float_info.max
    assert torch.equal(found[others], sensitivities(gram(matrix[:, others])))


def test_a_singular_matrix_has_nothing_else():
    matrix = activations(500, 60)
    matrix[:, 7] = matrix[:, 6]
    assert (sensitivities(gram(matrix)) == sys.float_info.max).all()


@pytest.mark.parametrize(("error", "expected"), [(0.0, FLOAT32_ERROR), (1e-3, 1e-3), (-1e-3, 1e-3)])
def test_the_error_of_products_is_measured(error, expected):
    matrix = activations(500, 60)
    energies = matrix.double().square().sum(dim=0) * (1 + error)
    assert measured_error(matrix, energies) == pytest.approx(expected, rel=0.01)


def test_the_error_of_products_that_are_zero_is_not_a_number():
    assert math.isnan(measured_error(torch.full((5, 3), 1e-30), torch.zeros(3, dtype=torch.float64)))


def allowed(blocks: list[Tensor]) -> list[bool]:
    rounding, total = Rounding(), torch.zeros(60, 60, dtype=torch.float64)
    verdicts = []
    for rows in blocks:
        product = (rows.T @ rows).double()
        total = total + product
        verdicts.append(rounding.allows(rows, product, total))
    return verdicts


def test_it_allows_what_is_well_conditioned():
    assert allowed(list(activations(2000, 60).split(500))) == [True] * 4


def test_it_objects_to_what_is_ill_conditioned():
    matrix = activations(500, 60)
    matrix[:, 1] = matrix[:, 0] + 1e-4 * matrix[:, 1]
    assert allowed([matrix]) == [False]


def test_it_objects_to_a_block_whose_rounding_drowns_what_came_before():
    matrix = activations(1000, 60)
    assert allowed([matrix[:500], 1e5 * matrix[500:510]]) == [True, False]


def test_it_looks_again_before_it_objects():
    few, many = activations(120, 60), activations(30_000, 60)
    assert allowed([few, many]) == [True, True]
