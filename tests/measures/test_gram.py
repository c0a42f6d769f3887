import math

import pytest
import torch
from torch import Tensor

from hpo_gn.measures import gram
from hpo_gn.measures.gram import Gram, add_product
from hpo_gn.measures.rounding import Rounding

GENERATOR = torch.Generator().manual_seed(0)


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=GENERATOR, dtype=torch.float64)


def activations(rows: int, columns: int) -> Tensor:
    return (normal(rows, 40) @ normal(40, columns) + normal(columns)).relu()


def of_condition(condition: float, rows: int, columns: int) -> Tensor:
    left, _ = torch.linalg.qr(normal(rows, columns))
    right, _ = torch.linalg.qr(normal(columns, columns))
    return (left * torch.logspace(0, -math.log10(condition), columns, dtype=torch.float64)) @ right.T


def of_dead_columns(rows: int, columns: int) -> Tensor:
    matrix = activations(rows, columns)
    matrix[:, ::3] = 0
    return matrix


def with_late_columns(rows: int, columns: int) -> Tensor:
    matrix = activations(rows, columns)
    matrix[: rows // 2, ::3] = 0
    matrix[:, 1] = matrix[:, 0] + 1e-5 * matrix[:, 1]
    return matrix


def with_outliers(rows: int, columns: int) -> Tensor:
    matrix = activations(rows, columns)
    matrix[-5:] *= 1e5
    return matrix


def of_nearly_one_direction(rows: int, columns: int) -> Tensor:
    return normal(rows, 1).abs() @ normal(1, columns) + 1e-6 * normal(rows, columns)


MATRICES = {
    "activations": activations(3000, 96),
    "wide activations": activations(1500, 300),
    "condition 100": of_condition(1e2, 3000, 96),
    "condition 1e5": of_condition(1e5, 3000, 96),
    "condition 1e7": of_condition(1e7, 3000, 96),
    "condition 1e7, wide": of_condition(1e7, 1500, 300),
    "nearly one direction": of_nearly_one_direction(3000, 96),
    "rank 7": normal(3000, 7) @ normal(7, 96),
    "fewer rows than columns": activations(50, 96),
    "one row": activations(1, 96),
    "one column": activations(3000, 1),
    "dead columns": of_dead_columns(3000, 96),
    "late columns": with_late_columns(3000, 96),
    "late outliers": with_outliers(3000, 96),
    "tiny": 1e-25 * activations(3000, 96),
    "huge": 1e25 * activations(3000, 96),
    "unequal columns": activations(3000, 96) * torch.logspace(0, -9, 96, dtype=torch.float64),
}

LOST = ("nearly one direction", "unequal columns")
"""Those with singular values of 1e-8 of the largest, which a Gram matrix in float64 has not."""


def twin(matrix: Tensor) -> float:
    """Σσ/σ_max by a singular value decomposition in float64."""
    values = torch.linalg.svdvals(matrix.double())
    return (values.sum() / values.max()).item()


def streamed(matrix: Tensor, batch: int) -> float:
    found = Gram(matrix.shape[1])
    for rows in matrix.split(batch):
        found.add(rows)
    return found.nuclear_over_spectral_norm()


@pytest.mark.parametrize("batch", [37, 256, 1000, 3000])
@pytest.mark.parametrize("name", MATRICES)
def test_it_equals_a_float64_decomposition_of_float32_rows(name, batch):
    matrix = MATRICES[name].float()
    assert streamed(matrix, batch) == pytest.approx(twin(matrix), rel=1e-6, abs=0)


@pytest.mark.parametrize("name", MATRICES)
def test_it_equals_a_float64_decomposition_of_float64_rows(name):
    matrix = MATRICES[name]
    assert streamed(matrix, 700) == pytest.approx(twin(matrix), rel=1e-7 if name in LOST else 1e-9, abs=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_rows_are_multiplied_in_float32(dtype):
    matrix = MATRICES["activations"].to(dtype)
    assert streamed(matrix, 1000) == pytest.approx(twin(matrix), rel=1e-6, abs=0)


def dtypes_of_products(monkeypatch, matrix: Tensor) -> list[torch.dtype]:
    seen = []

    def noted(total: Tensor, columns: Tensor) -> None:
        seen.append(columns.dtype)
        add_product(total, columns)

    monkeypatch.setattr(gram, "add_product", noted)
    streamed(matrix, 1000)
    return seen


@pytest.mark.parametrize("name", ["activations", "condition 100", "dead columns", "unequal columns"])
def test_float32_is_used_where_it_is_good_enough(name, monkeypatch):
    assert set(dtypes_of_products(monkeypatch, MATRICES[name].float())) == {torch.float32}


@pytest.mark.parametrize("name", ["condition 1e5", "condition 1e7", "rank 7", "nearly one direction", "huge"])
def test_float64_is_used_at_once_where_float32_is_not(name, monkeypatch):
    first, *others = dtypes_of_products(monkeypatch, MATRICES[name].float())
    assert (first, set(others)) == (torch.float32, {torch.float64})


@pytest.mark.parametrize("name", ["condition 1e7", "nearly one direction", "late outliers"])
def test_float32_alone_would_miss_the_bound(name, monkeypatch):
    monkeypatch.setattr(Rounding, "allows", lambda *_: True)
    matrix = MATRICES[name].float()
    assert streamed(matrix, 1000) != pytest.approx(twin(matrix), rel=1e-6, abs=0)


def test_products_of_less_than_float32_are_noticed():
    matrix = MATRICES["activations"].float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert streamed(matrix, 1000) == pytest.approx(twin(matrix), rel=1e-6, abs=0)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("row", [0, 299])
@pytest.mark.parametrize("batch", [30, 300])
def test_it_is_nan_if_a_number_is_not_finite(value, row, batch):
    matrix = MATRICES["activations"][:300].float()
    matrix[row, 5] = value
    assert math.isnan(streamed(matrix, batch))


@pytest.mark.parametrize("rows", [1, 100, 1000])
def test_it_is_zero_of_zeros(rows):
    assert streamed(torch.zeros(rows, 96), 100) == 0


def test_it_is_one_of_one_direction():
    assert streamed(torch.ones(1000, 96), 100) == 1


@pytest.mark.parametrize("batch", [37, 1000])
def test_rows_may_be_changed_once_they_are_added(batch):
    matrix = MATRICES["activations"].float()
    found = Gram(matrix.shape[1])
    for rows in matrix.clone().split(batch):
        found.add(rows)
        rows.zero_()
    assert found.nuclear_over_spectral_norm() == streamed(matrix, batch)


def test_the_random_state_is_left_alone():
    before = torch.get_rng_state()
    streamed(MATRICES["activations"].float(), 1000)
    assert torch.equal(torch.get_rng_state(), before)
